"""What orders does about events, its own included.

The customer hears of a failure through an event and not in the step that closes the order, so
that wording a message can never keep a compensation from ending.
"""

from dataclasses import dataclass
from uuid import UUID

from orders import notifications
from orders.models import Order
from sagas.api import on


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderEnded:
    """What is read of ``orders.OrderFailed`` and ``orders.OrderCanceled``."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CouponSeen:
    """What is read of ``billing.CouponGranted`` and ``billing.CouponWithdrawn``."""

    order_id: UUID
    code: str


@on("orders.OrderFailed", version=1)
def tell_of_failure(event: OrderEnded) -> None:
    """Tell the customer that the order came to nothing."""
    notifications.tell(Order.objects.get(id=event.order_id), "order_failed")


@on("orders.OrderCanceled", version=1)
def tell_of_cancellation(event: OrderEnded) -> None:
    """Tell the customer that the order is canceled."""
    notifications.tell(Order.objects.get(id=event.order_id), "order_canceled")


@on("billing.CouponGranted", version=1)
def tell_of_coupon(event: CouponSeen) -> None:
    """Tell the customer of the coupon."""
    order = Order.objects.get(id=event.order_id)
    notifications.tell(order, "coupon_granted", code=event.code)


@on("billing.CouponWithdrawn", version=1)
def tell_of_withdrawal(event: CouponSeen) -> None:
    """Tell the customer that the coupon is withdrawn, if they were told of it."""
    if notifications.was_told(event.order_id, "coupon_granted"):
        order = Order.objects.get(id=event.order_id)
        notifications.tell(order, "coupon_withdrawn", code=event.code)
