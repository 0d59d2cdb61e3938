"""The tables of the context."""

from payments.models.messaging import (
    Barrier,
    Event,
    Idempotency,
    Inbox,
    Outbox,
    Position,
    StreamDue,
    StreamLease,
)
from payments.models.method import PaymentMethod
from payments.models.operation import OperationKind, PaymentOperation
from payments.models.payment import Payment
from payments.models.webhook_event import WebhookEvent, WebhookState

__all__ = [
    "Barrier",
    "Event",
    "Idempotency",
    "Inbox",
    "OperationKind",
    "Outbox",
    "Payment",
    "PaymentMethod",
    "PaymentOperation",
    "Position",
    "StreamDue",
    "StreamLease",
    "WebhookEvent",
    "WebhookState",
]
