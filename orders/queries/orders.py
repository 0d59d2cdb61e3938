"""Orders: as a customer sees them, and as they were agreed."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, QuerySet

from orders.models import Order, OrderLine
from orders.progress import Progress, Standing, progress_of
from orders.refusals import UnknownOrder
from orders.states import OrderStatus
from sagas.api import NoSuchSaga, SagaView, saga_status


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderLineView:
    """One agreed line."""

    position: int
    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    line_total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSummary:
    """An order in a list."""

    id: UUID
    number: str
    status: str
    reason: str
    currency: str
    total: int
    placed_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderDetail:
    """An order as its customer sees it."""

    id: UUID
    number: str
    status: str
    reason: str
    progress: Progress
    standing: Standing | None
    """How its checkout stands; None when that is long forgotten."""
    currency: str
    goods: int
    total: int
    payment_method_id: UUID
    payment_id: UUID
    saga_id: UUID
    saga_status: str
    reference: str | None
    business_date: date
    placed_at: datetime
    confirmed_at: datetime | None
    closed_at: datetime | None
    lines: tuple[OrderLineView, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreedOrder:
    """What was agreed when an order was placed; never changes."""

    id: UUID
    number: str
    customer_id: UUID
    customer_name: str
    currency: str
    total: int
    business_date: date
    lines: tuple[OrderLineView, ...]


def orders_of(
    customer_id: UUID,
    *,
    status: str = "",
    limit: int = 50,
    offset: int = 0,
    after: UUID | None = None,
) -> list[OrderSummary]:
    """Return a customer's orders, the newest first.

    :param after: the last order of the page before; placing an order meanwhile shifts nothing
    :raises UnknownOrder: if the customer has no such order
    """
    rows = newest_of(customer_id, after)
    if status:
        rows = rows.filter(status=status)
    return [
        OrderSummary(
            id=order.id,
            number=order.number,
            status=order.status,
            reason=order.reason,
            currency=order.currency,
            total=order.total,
            placed_at=order.placed_at,
        )
        for order in rows[offset : offset + limit]
    ]


def newest_of(customer_id: UUID, after: UUID | None) -> QuerySet[Order]:
    """Select a customer's orders, the newest first, from the one behind ``after`` on.

    :raises UnknownOrder: if the customer has no such order
    """
    rows = _of(customer_id).order_by("-placed_at", "-id")
    return rows if after is None else rows.filter(_older_than(customer_id, after))


def _older_than(customer_id: UUID, order_id: UUID) -> Q:
    placed_at = _of(customer_id).filter(id=order_id).values_list("placed_at", flat=True).first()
    if placed_at is None:
        raise UnknownOrder("You have no such order.", "after")
    return Q(placed_at__lt=placed_at) | Q(placed_at=placed_at, id__lt=order_id)


def order_of(customer_id: UUID, order_id: UUID) -> OrderDetail | None:
    """Return one of a customer's orders with its progress, or None if they have no such."""
    order = _of(customer_id).filter(id=order_id).first()
    if order is None:
        return None
    saga = _saga_of(order)
    status = OrderStatus(order.status)
    # Where orders have a database of their own, the engine hears of a checkout a moment later.
    is_asked_for = saga is None and status is OrderStatus.PENDING
    standing = _BEGINNING if is_asked_for else _standing(saga)
    return OrderDetail(
        id=order.id,
        number=order.number,
        status=order.status,
        reason=order.reason,
        progress=progress_of(status, order.reason, standing),
        standing=standing,
        currency=order.currency,
        goods=order.goods,
        total=order.total,
        payment_method_id=order.payment_method_id,
        payment_id=order.payment_id,
        saga_id=order.saga_id,
        saga_status="running" if is_asked_for else saga.status if saga else "",
        reference=order.reference,
        business_date=order.business_date,
        placed_at=order.placed_at,
        confirmed_at=order.confirmed_at,
        closed_at=order.closed_at,
        lines=_lines_of(order.id),
    )


def agreed(order_id: UUID) -> AgreedOrder:
    """Return what was agreed about an order, for whoever has to carry it out."""
    order = Order.objects.select_related("customer").get(id=order_id)
    return AgreedOrder(
        id=order.id,
        number=order.number,
        customer_id=order.customer_id,
        customer_name=order.customer.name,
        currency=order.currency,
        total=order.total,
        business_date=order.business_date,
        lines=_lines_of(order.id),
    )


def progress_now(order: Order) -> Progress:
    """Return what to tell the customer of an order, from its own row and its checkout's."""
    status = OrderStatus(order.status)
    if status is not OrderStatus.PENDING:
        return progress_of(status, order.reason, None)
    return progress_of(status, order.reason, _standing(_saga_of(order)) or _BEGINNING)


def _of(customer_id: UUID) -> QuerySet[Order]:
    return Order.objects.filter(customer_id=customer_id)


def _lines_of(order_id: UUID) -> tuple[OrderLineView, ...]:
    return tuple(
        OrderLineView(
            position=line.position,
            sku=line.sku_code,
            description=line.description,
            quantity=line.quantity,
            unit_price=line.unit_price,
            line_total=line.line_total,
        )
        for line in OrderLine.objects.filter(order_id=order_id).order_by("position")
    )


_BEGINNING = Standing(step="reserve_stock")


def _saga_of(order: Order) -> SagaView | None:
    try:
        return saga_status(order.saga_id)
    except NoSuchSaga:  # pruned, long after the order was closed
        return None


def _standing(saga: SagaView | None) -> Standing | None:
    if saga is None:
        return None
    return Standing(
        step=saga.step or "",
        is_compensating=saga.status in {"compensating", "compensated"},
        is_canceled=saga.canceled_by is not None,
        is_past_return=saga.past_return,
        is_parked=saga.parked_reason is not None,
        is_retrying=saga.last_fault_kind is not None,
        is_in_doubt=saga.last_fault_kind == "unknown",
    )
