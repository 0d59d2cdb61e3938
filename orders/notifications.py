"""What this context tells its customers: the words, and that each is told once."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from orders.models import Notification, Order
from orders.progress import reason_text
from orders.states import OrderStatus
from sagas.api import transaction_required


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """The words of a message; filled in by name."""

    subject: str
    body: str


TEMPLATES: Mapping[str, Template] = {
    "order_confirmed": Template(
        subject="Order {number} is confirmed",
        body="Thank you. Your order {number} is confirmed and paid; the invoice is {invoice}.",
    ),
    "order_failed": Template(
        subject="Order {number} could not be completed",
        body="Your order {number} could not be completed. {reason}",
    ),
    "order_canceled": Template(
        subject="Order {number} is canceled",
        body="Your order {number} is canceled. {reason}",
    ),
    "coupon_granted": Template(
        subject="A coupon for your order {number}",
        body="Thank you for order {number}. Here is a coupon for your next one: {code}.",
    ),
    "coupon_withdrawn": Template(
        subject="The coupon for your order {number} is withdrawn",
        body="The coupon {code} for your order {number} is withdrawn. We are sorry.",
    ),
}


def tell(order: Order, template: str, **more: str) -> None:
    """Tell the customer of an order something, inside the caller's transaction.

    Told twice, it is one message: what is said is unique by template and order.

    :param more: what the words name besides the order's number and why it ended
    """
    transaction_required()
    words = TEMPLATES[template]
    reason = reason_text(OrderStatus(order.status), order.reason)
    facts = {"number": order.number, "reason": reason, **more}
    Notification.objects.bulk_create(
        [
            Notification(
                dedup_key=f"{template}:{order.id}",
                order=order,
                customer_id=order.customer_id,
                template=template,
                subject=words.subject.format(**facts),
                body=words.body.format(**facts),
            )
        ],
        ignore_conflicts=True,
    )


def was_told(order_id: UUID, template: str) -> bool:
    """Return whether the customer of an order has been told this."""
    return Notification.objects.filter(dedup_key=f"{template}:{order_id}").exists()
