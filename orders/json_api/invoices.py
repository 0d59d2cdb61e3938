"""Reading invoices."""

from typing import Annotated, Any
from uuid import UUID

from django.http import Http404
from ninja import Query, Router

from billing import api as billing
from orders.json_api.access import ApiRequest
from orders.json_api.documents import (
    InvoiceOut,
    InvoicePage,
    InvoiceSummaryOut,
    ProblemOut,
    lines_out,
)
from orders.json_api.paging import PageIn, next_page
from orders.json_api.problems import FieldProblem, Problem

router = Router(tags=["invoices"])
NO_SUCH_INVOICE = FieldProblem(
    field="after",
    code="unknown_invoice",
    detail="You have no such invoice.",
    remedy="Take the address under next as it is.",
)


@router.get("", response={200: InvoicePage, 401: ProblemOut, 422: ProblemOut})
def list_invoices(request: ApiRequest, page: Annotated[PageIn, Query()]) -> InvoicePage:
    """List the customer's invoices, the newest first."""
    try:
        found = billing.invoices_of(request.auth.id, limit=page.limit + 1, after=page.after)
    except billing.UnknownInvoice:
        raise Problem("invalid_fields", errors=[NO_SUCH_INVOICE]) from None
    return InvoicePage(
        data=[InvoiceSummaryOut(**_facts(invoice)) for invoice in found[: page.limit]],
        next=next_page(request, [str(invoice.id) for invoice in found], page.limit),
    )


@router.get("/{uuid:invoice_id}", response={200: InvoiceOut, 401: ProblemOut, 404: ProblemOut})
def read_invoice(request: ApiRequest, invoice_id: UUID) -> InvoiceOut:
    """Show one of the customer's invoices."""
    invoice = billing.invoice_of(request.auth.id, invoice_id)
    if invoice is None:
        raise Http404
    return InvoiceOut(
        **_facts(invoice),
        customer_name=invoice.customer_name,
        lines=lines_out(invoice.lines),
    )


def _facts(invoice: billing.InvoiceView) -> dict[str, Any]:
    names = InvoiceSummaryOut.model_fields
    return {name: getattr(invoice, name) for name in names}
