"""What this context tells its customers: the words, and that each is told once."""

from collections.abc import Mapping
from dataclasses import dataclass

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
}


def tell(order: Order, template: str, *, invoice: str = "") -> None:
    """Tell the customer of an order something, inside the caller's transaction.

    Told twice, it is one message: what is said is unique by template and order.
    """
    transaction_required()
    words = TEMPLATES[template]
    reason = reason_text(OrderStatus(order.status), order.reason)
    facts = {"number": order.number, "invoice": invoice, "reason": reason}
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
