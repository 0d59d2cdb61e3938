"""What has happened in this context, told to whoever subscribed."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sagas.api import Event


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentAuthorized(Event):
    """The amount is held on the card."""

    name: ClassVar[str] = "payments.PaymentAuthorized"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    payment_id: UUID
    purpose: str
    purpose_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    provider_ref: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentCaptured(Event):
    """The money is ours."""

    name: ClassVar[str] = "payments.PaymentCaptured"

    payment_id: UUID
    purpose: str
    purpose_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    provider_ref: str
    captured_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentDeclined(Event):
    """The hold was refused; nothing was taken and nothing will be."""

    name: ClassVar[str] = "payments.PaymentDeclined"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    payment_id: UUID
    purpose: str
    purpose_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    provider_ref: str
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentVoided(Event):
    """The hold was let go; nothing was taken and nothing will be."""

    name: ClassVar[str] = "payments.PaymentVoided"
    outside: ClassVar[str] = "the audit reads it (`audit.v_events`)"

    payment_id: UUID
    purpose: str
    purpose_id: UUID
    customer_id: UUID
    amount: int
    currency: str
    provider_ref: str
