"""What a reader must see before a list is up to date for them, as a short text they carry along.

``<order>:<number>``: the number of the event of that order which tells of what they have done.
"""

from collections.abc import Mapping
from uuid import UUID

from orders.models import Order
from orders.states import OrderStatus


def next_of(order_id: UUID) -> str:
    """Return the text for the event that an order will tell next; empty if it has ended."""
    order = Order.objects.only("event_sequence", "status").get(id=order_id)
    if order.status != OrderStatus.PENDING:
        return ""
    return f"{order_id}:{order.event_sequence + 1}"


def read(text: str) -> Mapping[UUID, int]:
    """Return number by order; nothing for a text that says nothing.

    Whoever makes one up sees an order of their own straight from its context, and no more.
    """
    order, _, number = text.partition(":")
    try:
        return {UUID(order): int(number)}
    except ValueError:
        return {}
