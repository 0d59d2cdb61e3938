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


@on("orders.OrderFailed", version=1)
def tell_of_failure(event: OrderEnded) -> None:
    """Tell the customer that the order came to nothing."""
    notifications.tell(Order.objects.get(id=event.order_id), "order_failed")


@on("orders.OrderCanceled", version=1)
def tell_of_cancellation(event: OrderEnded) -> None:
    """Tell the customer that the order is canceled."""
    notifications.tell(Order.objects.get(id=event.order_id), "order_canceled")
