"""The invoices of a customer, on the screen and on paper."""

from typing import Final, Protocol
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing import queries

PAGE: Final = 20


class SignedIn(Protocol):
    """Who is looking; which customer a sign-in belongs to is known elsewhere."""

    @property
    def id(self) -> UUID:
        """Return the customer's id."""


@require_safe
def invoices(request: HttpRequest, customer: SignedIn) -> HttpResponse:
    """List the customer's invoices, the newest first."""
    try:
        after = UUID(request.GET["after"]) if "after" in request.GET else None
        found = queries.invoices_of(customer.id, limit=PAGE + 1, after=after)
    except (ValueError, queries.UnknownInvoice) as wrong:
        raise Http404 from wrong
    page = {
        "invoices": found[:PAGE],
        "after": after,
        "next": found[PAGE - 1].id if len(found) > PAGE else "",
    }
    return render(request, "billing/invoices.html", page)


@require_safe
def invoice(request: HttpRequest, customer: SignedIn, invoice_id: UUID) -> HttpResponse:
    """Show an invoice."""
    found = queries.invoice_of(customer.id, invoice_id)
    if found is None:
        raise Http404
    return render(request, "billing/invoice.html", {"invoice": found})
