"""What billing does about events of the other contexts."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from billing.accounts.services import locked_account
from billing.coupons import services as coupons
from billing.invoices.services import Captured, receive_payment
from sagas.api import on

ORDER = "order"


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedSeen:
    """What billing reads of ``payments.PaymentCaptured``."""

    payment_id: UUID
    purpose: str
    purpose_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    provider_ref: str
    captured_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredSeen:
    """What billing reads of ``orders.CustomerRegistered``."""

    customer_id: UUID
    customer_name: str
    currency: str


@on("orders.OrderConfirmed", version=1)
def reward(event: coupons.ConfirmedOrder) -> None:
    """Grant the coupon that the order has earned, if it has."""
    if coupons.earns(event):
        coupons.grant(event)


@on("payments.PaymentCaptured", version=1)
def book_payment(event: CapturedSeen) -> None:
    """Book the money, and settle the invoice if it is there."""
    if event.purpose != ORDER:
        return
    receive_payment(
        Captured(
            payment_id=event.payment_id,
            order_id=event.purpose_id,
            customer_id=event.customer_id,
            amount=event.amount,
            currency=event.currency,
            provider_ref=event.provider_ref,
            captured_at=event.captured_at,
        )
    )


@on("orders.CustomerRegistered", version=1)
def open_account(event: RegisteredSeen) -> None:
    """Open the account that the customer will be billed through."""
    locked_account(event.customer_id, currency=event.currency, name=event.customer_name)
