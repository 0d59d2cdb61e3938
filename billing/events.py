"""What has happened in this context, told to whoever subscribed."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar
from uuid import UUID

from sagas.api import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountOpened(Event):
    """A customer can be billed."""

    name: ClassVar[str] = "billing.AccountOpened"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    account_id: UUID
    number: str
    customer_id: UUID
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceIssued(Event):
    """An invoice was written and booked; it never changes again."""

    name: ClassVar[str] = "billing.InvoiceIssued"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    invoice_id: UUID
    number: str
    order_id: UUID
    customer_id: UUID
    currency: str
    total: int
    business_date: date


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceSettled(Event):
    """An invoice is paid in full."""

    name: ClassVar[str] = "billing.InvoiceSettled"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    invoice_id: UUID
    number: str
    order_id: UUID
    customer_id: UUID
    currency: str
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CouponGranted(Event):
    """A customer has earned a coupon by an order."""

    name: ClassVar[str] = "billing.CouponGranted"

    coupon_id: UUID
    code: str
    order_id: UUID
    customer_id: UUID
    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CouponWithdrawn(Event):
    """A coupon that was granted is good for nothing any more."""

    name: ClassVar[str] = "billing.CouponWithdrawn"

    coupon_id: UUID
    code: str
    order_id: UUID
    customer_id: UUID
