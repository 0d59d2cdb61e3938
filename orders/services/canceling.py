"""Canceling an order, as long as there is a way back."""

from uuid import UUID

from orders.models import Order
from orders.refusals import UnknownOrder
from sagas.api import Cancellation, ask_to_cancel, transaction

BY_CUSTOMER = "canceled_by_customer"


def cancel_order(*, customer_id: UUID, order_id: UUID, by: str) -> Cancellation:
    """Ask for an order to be taken back; the answer says whether that is still possible.

    Accepted means that the checkout turns round: the order is canceled when all that was done
    for it is undone, shortly after.

    :param by: who asks, for the record
    :raises UnknownOrder: if the customer has no such order
    """
    with transaction("orders"):
        return ask_to_cancel_order(customer_id=customer_id, order_id=order_id, by=by)


def ask_to_cancel_order(*, customer_id: UUID, order_id: UUID, by: str) -> Cancellation:
    """Do what ``cancel_order`` does inside the caller's transaction.

    :raises UnknownOrder: if the customer has no such order
    """
    saga_id = (
        Order.objects.filter(id=order_id, customer_id=customer_id)
        .values_list("saga_id", flat=True)
        .first()
    )
    if saga_id is None:
        raise UnknownOrder("You have no such order.", "order")
    return ask_to_cancel(saga_id, reason=BY_CUSTOMER, by=by)
