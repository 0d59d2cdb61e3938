"""A customer's orders: the list, one of them, how it is coming along, and taking it back."""

from typing import Any, Final
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from billing import api as billing
from orders import awaiting, queries, services
from orders.queries import CustomerView, OrderDetail
from orders.refusals import UnknownOrder
from orders.stages import stages_of
from orders.states import OrderStatus
from orders.web.access import for_customer
from orders.web.once import AWAITED, answered_once, sent_on
from payments import api as payments
from sagas.api import Cancellation
from sagas.idempotency.http import Answer

PAGE: Final = 20
TOO_LATE: Final = "?cancel=too-late"


@require_safe
@for_customer
def orders(request: HttpRequest, customer: CustomerView) -> HttpResponse:
    """List the customer's orders, the newest first."""
    try:
        after = UUID(request.GET["after"]) if "after" in request.GET else None
        awaited = awaiting.read(request.COOKIES.get(AWAITED, ""))
        board = queries.board_of(customer.id, limit=PAGE + 1, after=after, awaited=awaited)
    except (ValueError, UnknownOrder) as wrong:
        raise Http404 from wrong
    found = board.entries
    page = {
        "orders": found[:PAGE],
        "as_of": board.as_of,
        "is_updating": any(order.is_updating for order in found[:PAGE]),
        "after": after,
        "next": found[PAGE - 1].id if len(found) > PAGE else "",
    }
    return render(request, "orders/orders.html", page)


@require_safe
@for_customer
def order(request: HttpRequest, customer: CustomerView, order_id: UUID) -> HttpResponse:
    """Show an order and how it is coming along."""
    found = _find(customer, order_id)
    page = {
        **_page(customer, found),
        "cancel_came_too_late": request.GET.get("cancel") == "too-late",
    }
    return render(request, "orders/order.html", page)


@require_safe
@for_customer
def progress(request: HttpRequest, customer: CustomerView, order_id: UUID) -> HttpResponse:
    """Show only how an order is coming along, for a page that is open already."""
    return render(request, "orders/_progress.html", _page(customer, _find(customer, order_id)))


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def cancel(request: HttpRequest, customer: CustomerView, order_id: UUID) -> HttpResponse:
    """Ask whether the customer is sure, and take the order back."""
    found = _find(customer, order_id)
    if request.method == "POST":
        return answered_once(request, customer, lambda: lambda: _cancel(customer, order_id))
    if not found.progress.can_cancel:
        return redirect("shop:order", order_id=order_id)
    return render(request, "orders/order_cancel.html", {"order": found})


def _cancel(customer: CustomerView, order_id: UUID) -> Answer:
    said = services.ask_to_cancel_order(
        customer_id=customer.id, order_id=order_id, by=f"customer {customer.id}"
    )
    # What is being stopped already, or has come to nothing, says so on its page.
    is_late = said is Cancellation.TOO_LATE or (
        said is Cancellation.FINISHED and _find(customer, order_id).status == OrderStatus.CONFIRMED
    )
    address = reverse("shop:order", args=[order_id])
    if is_late:
        return sent_on(address + TOO_LATE)
    # What the list must have come to: the news of this cancel, which is still to be told.
    return sent_on(address, awaited=awaiting.next_of(order_id))


def _find(customer: CustomerView, order_id: UUID) -> OrderDetail:
    found = queries.order_of(customer.id, order_id)
    if found is None:
        raise Http404
    return found


def _page(customer: CustomerView, found: OrderDetail) -> dict[str, Any]:
    status = OrderStatus(found.status)
    is_confirmed = status is OrderStatus.CONFIRMED
    return {
        "order": found,
        "stages": stages_of(status, found.reason, found.standing),
        "payment": payments.payment_for_order(found.id),
        "invoice": billing.invoice_for_order(customer.id, found.id) if is_confirmed else None,
    }
