"""Granting coupons and withdrawing them. Each runs inside the transaction of its caller.

The unique order decides between the two, whichever comes first: a coupon that was withdrawn before
it was granted is a row at which the grant turns away.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models.functions import Now

from billing.coupons.models import Coupon
from billing.coupons.states import CouponState
from billing.events import CouponGranted, CouponWithdrawn
from sagas.api import clock, connection_of, publish, transaction_required, uuid7

FROM: Final = 10_000
"""Least total of an order that earns a coupon, in minor units."""
SHARE: Final = 5
"""Per cent of the total that the coupon is worth."""

_WRITE = """
INSERT INTO billing_coupon (id, order_id, customer_id, code, amount, currency, state, granted_at,
    withdrawn_at, updated_at)
VALUES (%(id)s, %(order)s, %(customer)s, %(code)s, %(amount)s, %(currency)s, %(state)s,
    %(granted)s, %(withdrawn)s, clock_timestamp())
ON CONFLICT (order_id) DO NOTHING
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmedOrder:
    """What billing reads of ``orders.OrderConfirmed``."""

    order_id: UUID
    customer_id: UUID
    currency: str
    total: int


def earns(order: ConfirmedOrder) -> bool:
    """Return whether an order earns a coupon.

    Also asked when the flow is opened: who changes it makes a flow that nobody carries.
    """
    return order.total >= FROM


def grant(order: ConfirmedOrder) -> bool:
    """Grant the coupon of an order; False when it was granted, or withdrawn, already."""
    transaction_required()
    coupon = _write(order, CouponState.GRANTED, granted=clock.now())
    if coupon is None:
        return False
    publish(
        CouponGranted(
            coupon_id=coupon.id,
            code=coupon.code,
            order_id=coupon.order_id,
            customer_id=coupon.customer_id,
            amount=coupon.amount,
            currency=coupon.currency,
        ),
        aggregate=coupon,
    )
    return True


def withdraw(order: ConfirmedOrder) -> None:
    """Take the coupon of an order back, and see to it that none comes later.

    Safe to repeat: a coupon that is withdrawn stays withdrawn, and is announced once.
    """
    transaction_required()
    if _write(order, CouponState.WITHDRAWN, withdrawn=clock.now()) is not None:
        return  # nobody has heard of it
    granted = Coupon.objects.filter(order_id=order.order_id, state=CouponState.GRANTED.value)
    now = clock.now()
    if not granted.update(state=CouponState.WITHDRAWN.value, withdrawn_at=now, updated_at=Now()):
        return
    coupon = Coupon.objects.get(order_id=order.order_id)
    publish(
        CouponWithdrawn(
            coupon_id=coupon.id,
            code=coupon.code,
            order_id=coupon.order_id,
            customer_id=coupon.customer_id,
        ),
        aggregate=coupon,
    )


def _write(
    order: ConfirmedOrder,
    state: CouponState,
    *,
    granted: datetime | None = None,
    withdrawn: datetime | None = None,
) -> Coupon | None:
    coupon_id = uuid7()
    with connection_of("billing").cursor() as cursor:
        cursor.execute(
            _WRITE,
            {
                "id": coupon_id,
                "order": order.order_id,
                "customer": order.customer_id,
                "code": f"T-{secrets.token_hex(6).upper()}",
                "amount": max(1, order.total * SHARE // 100),
                "currency": order.currency,
                "state": state.value,
                "granted": granted,
                "withdrawn": withdrawn,
            },
        )
        if not cursor.rowcount:
            return None
    return Coupon.objects.get(id=coupon_id)
