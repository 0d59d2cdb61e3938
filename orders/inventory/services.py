"""Changes of the stock. Each runs inside the transaction of its caller.

Two orders that share items always lock them in the order of their codes; taken in the order of
the lines, ten workers with several items each deadlocked nine times.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from orders.inventory.models import StockLevel, StockReservation
from orders.inventory.states import MovementKind, ReservationState
from sagas.api import connection_of, transaction_required


class OutOfStock(Exception):
    """Not everything that was asked for is there."""


class NothingHeld(Exception):
    """No goods are set aside for this order, so none can be taken for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """The goods that one line of an order asks for."""

    position: int
    sku: str
    quantity: int


# ORDER BY comes before the locking, so the rows are locked in this order.
_LOCK = """
SELECT 1 FROM orders_stocklevel WHERE sku = ANY(%s::text[]) ORDER BY sku FOR NO KEY UPDATE
"""

_TAKE = """
UPDATE orders_stocklevel AS level
SET reserved = level.reserved + wanted.quantity, updated_at = clock_timestamp()
FROM unnest(%s::text[], %s::bigint[]) AS wanted (sku, quantity)
WHERE level.sku = wanted.sku AND level.on_hand - level.reserved >= wanted.quantity
RETURNING level.sku, level.id
"""


def reserve(order_id: UUID, wanted: Sequence[Wanted]) -> None:
    """Set goods aside for an order, all or none, in the same few statements for any number.

    :raises OutOfStock: if something is short; the caller's transaction must then roll back
    """
    transaction_required()
    per_sku: Counter[str] = Counter()
    for one in wanted:
        per_sku[one.sku] += one.quantity
    stock = _take(per_sku)
    if len(stock) < len(per_sku):
        raise OutOfStock(", ".join(sorted(per_sku.keys() - stock.keys())))
    StockReservation.objects.bulk_create(
        StockReservation(
            order_id=order_id,
            position=one.position,
            stock_id=stock[one.sku],
            quantity=one.quantity,
        )
        for one in wanted
    )


def _take(per_sku: Counter[str]) -> dict[str, int]:
    skus = sorted(per_sku)
    with connection_of("orders").cursor() as cursor:
        if len(skus) > 1:
            cursor.execute(_LOCK, [skus])
        cursor.execute(_TAKE, [skus, [per_sku[sku] for sku in skus]])
        return dict(cursor.fetchall())


_LOCK_HELD = """
SELECT 1 FROM orders_stocklevel
WHERE id IN (
    SELECT stock_id FROM orders_stockreservation WHERE order_id = %(order)s AND state = 'held')
ORDER BY sku FOR NO KEY UPDATE
"""

_CLOSE = """
WITH closed AS (
    UPDATE orders_stockreservation SET state = %(state)s, closed_at = clock_timestamp()
    WHERE order_id = %(order)s AND state = 'held' RETURNING stock_id, quantity),
per_stock AS (
    SELECT stock_id, sum(quantity)::bigint AS quantity FROM closed GROUP BY stock_id),
moved AS (
    UPDATE orders_stocklevel AS level
    SET reserved = level.reserved - per_stock.quantity,
        on_hand = level.on_hand - CASE WHEN %(sold)s THEN per_stock.quantity ELSE 0 END,
        updated_at = clock_timestamp()
    FROM per_stock WHERE level.id = per_stock.stock_id
    RETURNING level.id, per_stock.quantity),
written AS (
    INSERT INTO orders_stockmovement (stock_id, kind, delta, ref)
    SELECT id, %(kind)s, -quantity, %(ref)s FROM moved WHERE %(sold)s)
SELECT count(*) FROM moved
"""


def release(order_id: UUID) -> None:
    """Give back what is still held for an order."""
    _close(order_id, ReservationState.RELEASED)


def commit(order_id: UUID) -> None:
    """Take the goods held for an order from the stock.

    :raises NothingHeld: if none are
    """
    if not _close(order_id, ReservationState.COMMITTED):
        raise NothingHeld(str(order_id))


def _close(order_id: UUID, state: ReservationState) -> int:
    transaction_required()
    parameters: dict[str, Any] = {
        "order": order_id,
        "state": state.value,
        "sold": state is ReservationState.COMMITTED,
        "kind": MovementKind.SALE.value,
        "ref": str(order_id),
    }
    with connection_of("orders").cursor() as cursor:
        cursor.execute(_LOCK_HELD, parameters)
        cursor.execute(_CLOSE, parameters)
        return int(cursor.fetchall()[0][0])


_OPEN = """
WITH opened AS (
    INSERT INTO orders_stocklevel (sku, on_hand, reserved)
    SELECT sku, quantity, 0 FROM unnest(%s::text[], %s::bigint[]) AS new (sku, quantity)
    ON CONFLICT (sku) DO NOTHING
    RETURNING id, on_hand)
INSERT INTO orders_stockmovement (stock_id, kind, delta, ref)
SELECT id, %s, on_hand, 'opening' FROM opened WHERE on_hand > 0
"""


def open_levels(quantities: Mapping[str, int]) -> None:
    """Begin to keep stock of items, with what there is of each; known ones stay as they are."""
    transaction_required()
    skus = sorted(quantities)
    with connection_of("orders").cursor() as cursor:
        cursor.execute(_OPEN, [skus, [quantities[sku] for sku in skus], MovementKind.RECEIPT.value])


_RECEIVE = """
WITH moved AS (
    INSERT INTO orders_stockmovement (stock_id, kind, delta, ref)
    SELECT id, %(kind)s, %(quantity)s, %(ref)s FROM orders_stocklevel WHERE sku = %(sku)s
    ON CONFLICT (stock_id, kind, ref) DO NOTHING
    RETURNING stock_id, delta)
UPDATE orders_stocklevel AS level
SET on_hand = level.on_hand + moved.delta, updated_at = clock_timestamp()
FROM moved WHERE level.id = moved.stock_id
"""


def receive(sku: str, quantity: int, ref: str) -> bool:
    """Add goods to the stock, once per item and reference; say whether this was the time."""
    transaction_required()
    parameters: dict[str, Any] = {
        "sku": sku,
        "quantity": quantity,
        "ref": ref,
        "kind": MovementKind.RECEIPT.value,
    }
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_stocklevel (sku, on_hand, reserved) VALUES (%(sku)s, 0, 0)"
            " ON CONFLICT (sku) DO NOTHING",
            parameters,
        )
        cursor.execute(_RECEIVE, parameters)
        return bool(cursor.rowcount == 1)


def available(skus: Sequence[str]) -> dict[str, int]:
    """Return how many of each item could be reserved now; an unknown item is missing."""
    levels = StockLevel.objects.filter(sku__in=skus).values_list("sku", "on_hand", "reserved")
    return {sku: on_hand - reserved for sku, on_hand, reserved in levels}
