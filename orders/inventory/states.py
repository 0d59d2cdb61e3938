"""The states of a reservation and the moves between them, as data."""

from collections.abc import Mapping
from enum import StrEnum


class ReservationState(StrEnum):
    """What has become of goods set aside for an order."""

    HELD = "held"
    COMMITTED = "committed"
    RELEASED = "released"


RESERVATION_TRANSITIONS: Mapping[ReservationState, frozenset[ReservationState]] = {
    ReservationState.HELD: frozenset({ReservationState.COMMITTED, ReservationState.RELEASED}),
    ReservationState.COMMITTED: frozenset(),
    ReservationState.RELEASED: frozenset(),
}


class MovementKind(StrEnum):
    """Why the quantity on hand changed."""

    RECEIPT = "receipt"
    SALE = "sale"
