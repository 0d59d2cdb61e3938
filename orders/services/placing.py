"""Placing an order: the order, its event and the start of its checkout are one commit."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from django.db import IntegrityError

from orders.events import OrderPlaced, PlacedLine
from orders.models import Order, OrderLine
from orders.refusals import ReferenceTaken
from orders.sagas.checkout import CHECKOUT, CheckoutState
from orders.services.carts import take_cart
from orders.services.drafting import Line, OrderDraft, PricedLine, draft_order
from sagas.api import clock, connection_of, publish, start, transaction, transaction_required, uuid7


def place_order(
    *,
    customer_id: UUID,
    lines: Sequence[Line | PricedLine],
    payment_method_id: UUID,
    reference: str | None = None,
    business_date: date | None = None,
) -> Order:
    """Place an order and begin its checkout.

    :param reference: the caller's own key; a second order with it is not placed, the first is
        returned
    :raises OrderRefused: if it cannot be placed as it stands; nothing is written
    :raises ReferenceTaken: if the reference stands for somebody else's order
    """
    if reference is not None:
        known = _placed_as(reference, customer_id)
        if known is not None:
            return known
    draft = draft_order(
        customer_id=customer_id,
        lines=lines,
        payment_method_id=payment_method_id,
        reference=reference,
        business_date=business_date,
    )
    try:
        with transaction("orders"):
            return place(draft)
    except IntegrityError:
        # Somebody else may have placed it between the look and the insert.
        known = None if reference is None else _placed_as(reference, customer_id)
        if known is None:
            raise
        return known


def place(draft: OrderDraft) -> Order:
    """Write a drafted order and begin its checkout, inside the caller's transaction.

    :raises CartChanged: if the draft was made from a cart that has changed since
    """
    transaction_required()
    if draft.from_cart:
        take_cart(draft.customer_id, {line.sku: line.quantity for line in draft.lines})
    order = _write(draft)
    _announce(order, draft)
    start(
        CHECKOUT,
        CheckoutState(
            order_id=order.id,
            customer_id=order.customer_id,
            payment_id=order.payment_id,
            payment_method_id=order.payment_method_id,
            amount=order.total,
            currency=order.currency,
        ),
        key=str(order.id),
        saga_id=order.saga_id,
        subject_id=order.id,
    )
    return order


def _placed_as(reference: str, customer_id: UUID) -> Order | None:
    order = Order.objects.filter(reference=reference).first()
    if order is not None and order.customer_id != customer_id:
        raise ReferenceTaken(f"{reference!r} is the reference of another order.", "reference")
    return order


def _write(draft: OrderDraft) -> Order:
    order = Order.objects.create(
        number=_next_number(),
        customer_id=draft.customer_id,
        currency=draft.currency,
        goods=draft.total,
        total=draft.total,
        payment_method_id=draft.payment_method_id,
        payment_id=uuid7(),
        saga_id=uuid7(),
        reference=draft.reference,
        business_date=draft.business_date,
        placed_at=clock.now(),
    )
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            position=position,
            sku_code=line.sku,
            description=line.description,
            quantity=line.quantity,
            unit_price=line.unit_price,
            line_total=line.line_total,
        )
        for position, line in enumerate(draft.lines, start=1)
    )
    return order


def _next_number() -> str:
    # A sequence: numbers of orders may have gaps, and nobody waits for anybody.
    with connection_of("orders").cursor() as cursor:
        cursor.execute("SELECT nextval('orders.order_number')")
        return str(cursor.fetchall()[0][0])


def _announce(order: Order, draft: OrderDraft) -> None:
    publish(
        OrderPlaced(
            order_id=order.id,
            number=order.number,
            customer_id=order.customer_id,
            currency=order.currency,
            total=order.total,
            business_date=order.business_date,
            reference=order.reference,
            lines=tuple(
                PlacedLine(
                    position=position,
                    sku=line.sku,
                    description=line.description,
                    quantity=line.quantity,
                    unit_price=line.unit_price,
                    line_total=line.line_total,
                )
                for position, line in enumerate(draft.lines, start=1)
            ),
        ),
        aggregate=order,
    )
