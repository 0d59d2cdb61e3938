"""The customer's order list: read from the board, and where that is behind, from the orders.

Which orders there are and how far each has come (the number of its last event) is asked of the
orders themselves: one index scan in the same schema, and nobody has to wait until the board
knows what they have just done. What the board has of an order is shown when it has seen that
event; else the order itself is shown, marked as updating.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orders.models import CustomerAccess, Order, OrderBoard, Projection
from orders.progress import Progress, board_standing, progress_of
from orders.queries.orders import newest_of, progress_now
from orders.states import OrderStatus
from sagas.api import clock

BOARD = "orders.board"


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardEntry:
    """An order in the customer's list."""

    id: UUID
    number: str
    status: str
    reason: str
    progress: Progress
    currency: str
    total: int
    placed_at: datetime
    payment: str | None
    """None while the board is behind; what the other contexts say is only there."""
    invoice_number: str | None
    is_updating: bool
    """It is shown as its own context has it, since the board has not come so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """Some of a customer's orders, the newest first."""

    entries: tuple[BoardEntry, ...]
    as_of: datetime
    """What was told before this is in every entry that is not updating."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessView:
    """What a customer may use."""

    account_number: str
    currency: str
    can_be_billed: bool


def board_of(
    customer_id: UUID,
    *,
    limit: int = 50,
    after: UUID | None = None,
    awaited: Mapping[UUID, int] | None = None,
) -> Board:
    """Return a customer's orders, the newest first.

    :param after: the last order of the page before; placing an order meanwhile shifts nothing
    :param awaited: numbers of events that are still to be told, by order: until the board has
        seen them these orders are updating
    :raises UnknownOrder: if the customer has no such order
    """
    orders = list(newest_of(customer_id, after)[:limit])
    rows = OrderBoard.objects.in_bulk([order.id for order in orders])
    entries = tuple(_entries(orders, rows, awaited or {}))
    return Board(entries=entries, as_of=_as_of(orders))


def access_of(customer_id: UUID) -> AccessView | None:
    """Return what a customer may use; None while nothing is known of them."""
    row = CustomerAccess.objects.filter(customer_id=customer_id).first()
    if row is None:
        return None
    return AccessView(
        account_number=row.account_number, currency=row.currency, can_be_billed=row.can_be_billed
    )


def _as_of(orders: list[Order]) -> datetime:
    noted = Projection.objects.filter(name=BOARD).values_list("as_of", flat=True).first()
    if noted is not None:
        return noted
    # Nobody has looked yet: what is as old as the oldest order is all that can be promised.
    return min((order.placed_at for order in orders), default=None) or clock.now()


def _entries(
    orders: list[Order], rows: Mapping[UUID, OrderBoard], awaited: Mapping[UUID, int]
) -> Iterator[BoardEntry]:
    for order in orders:
        row = rows.get(order.id)
        needed = max(order.event_sequence, awaited.get(order.id, 0))
        if row is not None and row.seen.get(f"{order.aggregate_type}:{order.id}", 0) >= needed:
            yield _from_board(order, row)
        else:
            yield _from_order(order)


def _from_board(order: Order, row: OrderBoard) -> BoardEntry:
    status = OrderStatus(row.status)
    return BoardEntry(
        id=order.id,
        number=row.number,
        status=row.status,
        reason=row.reason,
        progress=progress_of(status, row.reason, board_standing(row.payment, row.invoice_number)),
        currency=row.currency,
        total=order.total if row.total is None else row.total,
        placed_at=order.placed_at,
        payment=row.payment,
        invoice_number=row.invoice_number,
        is_updating=False,
    )


def _from_order(order: Order) -> BoardEntry:
    return BoardEntry(
        id=order.id,
        number=order.number,
        status=order.status,
        reason=order.reason,
        progress=progress_now(order),
        currency=order.currency,
        total=order.total,
        placed_at=order.placed_at,
        payment=None,
        invoice_number=None,
        is_updating=True,
    )
