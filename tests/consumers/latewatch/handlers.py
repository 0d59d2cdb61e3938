from dataclasses import dataclass
from uuid import UUID

from sagas.api import current_event, on
from tests.consumers.latewatch.models import Heard


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderSeen:
    order_id: UUID
    customer_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentSeen:
    customer_id: UUID
    amount: int


@on("orders.OrderPlaced", start="now")
def watch_placed(event: OrderSeen) -> None:
    _write()


@on("orders.OrderConfirmed", start="now")
def watch_confirmed(event: OrderSeen) -> None:
    _write()


@on("orders.OrderCanceled", start="now")
def watch_canceled(event: OrderSeen) -> None:
    _write()


@on("payments.PaymentAuthorized", start="now")
def watch_authorized(event: PaymentSeen) -> None:
    _write()


@on("payments.PaymentCaptured", start="now")
def watch_captured(event: PaymentSeen) -> None:
    _write()


def _write() -> None:
    event = current_event()
    Heard.objects.create(what=event.name, aggregate=event.aggregate_id, sequence=event.sequence)
