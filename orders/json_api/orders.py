"""Placing, reading and canceling orders."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from django.http import Http404, HttpResponse
from ninja import Query, Router

from orders import awaiting, queries, services
from orders.json_api.access import ApiRequest
from orders.json_api.documents import (
    OrderIn,
    OrderOut,
    OrderPage,
    ProblemOut,
    order_out,
    summary_out,
)
from orders.json_api.once import KEY_PARAMETER, answered_once, document, refusal
from orders.json_api.paging import BoardIn, next_page
from orders.json_api.problems import Problem
from orders.states import OrderStatus
from sagas.api import Cancellation
from sagas.idempotency.http import Answer, Perform

router = Router(tags=["orders"])
PROBLEMS = dict.fromkeys((400, 401, 404, 409, 413, 415, 422, 503), ProblemOut)


@router.post("", response={202: OrderOut, **PROBLEMS}, openapi_extra=KEY_PARAMETER)
def place_order(request: ApiRequest, order: OrderIn) -> HttpResponse:
    """Take an order; its checkout goes on after the answer, look at Location for how."""

    def prepare() -> Perform:
        draft = services.draft_order(
            customer_id=request.auth.id,
            lines=[services.Line(sku=one.sku, quantity=one.quantity) for one in order.lines],
            payment_method_id=order.payment_method,
        )
        return lambda: _accepted(request, services.place(draft).id)

    return answered_once(request, prepare)


@router.get("", response={200: OrderPage, 401: ProblemOut, 422: ProblemOut})
def list_orders(request: ApiRequest, page: Annotated[BoardIn, Query()]) -> OrderPage:
    """List the customer's orders, the newest first."""
    board = queries.board_of(
        request.auth.id,
        limit=page.limit + 1,
        after=page.after,
        awaited=awaiting.read(page.awaited),
    )
    found = board.entries
    return OrderPage(
        data=[summary_out(order) for order in found[: page.limit]],
        as_of=board.as_of,
        next=next_page(request, [str(order.id) for order in found], page.limit),
    )


@router.get("/{uuid:order_id}", response={200: OrderOut, 401: ProblemOut, 404: ProblemOut})
def read_order(request: ApiRequest, order_id: UUID) -> OrderOut:
    """Show one of the customer's orders."""
    return _order(request, order_id)


@router.post(
    "/{uuid:order_id}/cancel",
    response={202: OrderOut, **PROBLEMS},
    openapi_extra=KEY_PARAMETER,
)
def cancel_order(request: ApiRequest, order_id: UUID) -> HttpResponse:
    """Take an order back, as long as its money is not taken."""
    return answered_once(request, lambda: lambda: _cancel(request, order_id))


def _cancel(request: ApiRequest, order_id: UUID) -> Answer:
    said = services.ask_to_cancel_order(
        customer_id=request.auth.id, order_id=order_id, by=f"customer {request.auth.id}"
    )
    order = _found(request, order_id)
    if said is Cancellation.TOO_LATE or order.status == OrderStatus.CONFIRMED:
        return refusal(request, Problem("too_late", _too_late(order)))
    if order.status == OrderStatus.FAILED or _is_failing(order):
        return refusal(request, Problem("already_closed"))
    awaited = awaiting.next_of(order_id)
    return _accepted(request, order_id, {"Awaited": awaited} if awaited else {})


def _is_failing(order: queries.OrderDetail) -> bool:
    """Say whether the checkout turns round by itself: the order will be failed, not canceled."""
    standing = order.standing
    return standing is not None and standing.is_compensating and not standing.is_canceled


def _too_late(order: queries.OrderDetail) -> str:
    state = "confirmed and paid" if order.status == OrderStatus.CONFIRMED else "being paid"
    return f"Order {order.number} is {state}, so it can no longer be canceled."


def _accepted(
    request: ApiRequest, order_id: UUID, headers: Mapping[str, str] | None = None
) -> Answer:
    location = f"/api/v1/orders/{order_id}"
    said = {"Location": location, **(headers or {})}
    return document(202, _order(request, order_id), said)


def _order(request: ApiRequest, order_id: UUID) -> OrderOut:
    return order_out(_found(request, order_id))


def _found(request: ApiRequest, order_id: UUID) -> queries.OrderDetail:
    order = queries.order_of(request.auth.id, order_id)
    if order is None:
        raise Http404
    return order
