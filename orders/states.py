"""The states of an order and the moves between them, as data."""

from collections.abc import Mapping
from enum import StrEnum


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    CANCELED = "canceled"


ORDER_TRANSITIONS: Mapping[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset(
        {OrderStatus.CONFIRMED, OrderStatus.FAILED, OrderStatus.CANCELED}
    ),
    OrderStatus.CONFIRMED: frozenset(),
    OrderStatus.FAILED: frozenset(),
    OrderStatus.CANCELED: frozenset(),
}


def sources_of(target: OrderStatus) -> tuple[OrderStatus, ...]:
    """Return the states from which an order may move to another."""
    return tuple(source for source, targets in ORDER_TRANSITIONS.items() if target in targets)
