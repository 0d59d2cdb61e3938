"""What the events of all contexts put into the read models of this one.

A column is written by the events of one kind of aggregate alone, since only those come in order.
"""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from orders.models import CustomerAccess, OrderBoard
from orders.states import OrderStatus
from orders.timeline import TIMELINE
from sagas.api import Projection, Put

__all__ = ["ACCESS", "BOARD", "TIMELINE"]

# The list of a customer's orders needs what payments and billing know, and joins no context.
BOARD = Projection("orders.board", version=1, into=OrderBoard)
# Whether somebody may use what is billed is asked on every page, and billing may be away.
ACCESS = Projection("orders.access", version=1, into=CustomerAccess)

ORDER = "order"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedSeen:
    """What is read of ``orders.OrderPlaced``."""

    order_id: UUID
    number: str
    customer_id: UUID
    currency: str
    total: int
    business_date: date


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmedSeen:
    """What is read of ``orders.OrderConfirmed``."""

    order_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosedSeen:
    """What is read of ``orders.OrderFailed`` and ``orders.OrderCanceled``."""

    order_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentSeen:
    """What is read of the events of a payment."""

    purpose: str
    purpose_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceSeen:
    """What is read of the events of an invoice."""

    order_id: UUID
    number: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountSeen:
    """What is read of ``billing.AccountOpened``."""

    customer_id: UUID
    number: str
    currency: str


@BOARD.on("orders.OrderPlaced")
def placed(event: PlacedSeen) -> Put:
    """Put a new order on the board."""
    return Put(
        event.order_id,
        customer_id=event.customer_id,
        number=event.number,
        status=OrderStatus.PENDING.value,
        currency=event.currency,
        total=event.total,
        business_date=event.business_date,
    )


@BOARD.on("orders.OrderConfirmed")
def confirmed(event: ConfirmedSeen) -> Put:
    """Say that an order is paid for."""
    return Put(event.order_id, status=OrderStatus.CONFIRMED.value)


@BOARD.on("orders.OrderFailed")
def failed(event: ClosedSeen) -> Put:
    """Say that an order came to nothing, and why."""
    return Put(event.order_id, status=OrderStatus.FAILED.value, reason=event.reason)


@BOARD.on("orders.OrderCanceled")
def canceled(event: ClosedSeen) -> Put:
    """Say that an order was taken back, and why."""
    return Put(event.order_id, status=OrderStatus.CANCELED.value, reason=event.reason)


@BOARD.on("payments.PaymentAuthorized")
def authorized(event: PaymentSeen) -> Put | None:
    """Say that the money is held."""
    return _paid(event, "authorized")


@BOARD.on("payments.PaymentCaptured")
def captured(event: PaymentSeen) -> Put | None:
    """Say that the money is ours."""
    return _paid(event, "captured")


@BOARD.on("payments.PaymentDeclined")
def declined(event: PaymentSeen) -> Put | None:
    """Say that the bank refused."""
    return _paid(event, "declined")


@BOARD.on("payments.PaymentVoided")
def voided(event: PaymentSeen) -> Put | None:
    """Say that the money was given back before it was taken."""
    return _paid(event, "voided")


def _paid(event: PaymentSeen, payment: str) -> Put | None:
    return Put(event.purpose_id, payment=payment) if event.purpose == ORDER else None


@BOARD.on("billing.InvoiceIssued")
def invoiced(event: InvoiceSeen) -> Put:
    """Name the invoice."""
    return Put(event.order_id, invoice_number=event.number)


@BOARD.on("billing.InvoiceSettled")
def settled(event: InvoiceSeen) -> Put:
    """Say that the invoice is paid."""
    return Put(event.order_id, invoice_number=event.number, is_settled=True)


@ACCESS.on("billing.AccountOpened")
def opened(event: AccountSeen) -> Put:
    """Let the customer use what is billed."""
    return Put(
        event.customer_id,
        account_number=event.number,
        currency=event.currency,
        can_be_billed=True,
    )
