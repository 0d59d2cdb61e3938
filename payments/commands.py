"""What sagas may ask of this context, and what they are answered."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sagas.api import Command


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedPayment:
    """The provider knows of the payment; no money is held."""

    payment_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthorizedPayment:
    """The amount is held on the card."""

    payment_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturedPayment:
    """The money is ours."""

    payment_id: UUID
    captured_at: datetime
    provider_ref: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparePayment(Command[PreparedPayment]):
    """Open a payment for an order, here and at the provider.

    Rejects ``payment_method_gone``.
    """

    name: ClassVar[str] = "payments.PreparePayment"

    payment_id: UUID
    """Made by the caller before the first attempt, so that every attempt means the same payment."""
    order_id: UUID
    customer_id: UUID
    method_id: UUID
    amount: int
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosePayment(Command[None]):
    """Undo ``PreparePayment``: nothing can be taken on this payment any more."""

    name: ClassVar[str] = "payments.ClosePayment"

    payment_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthorizePayment(Command[AuthorizedPayment]):
    """Hold the amount on the card.

    Rejects with the provider's code: ``generic_decline``, ``insufficient_funds`` …
    """

    name: ClassVar[str] = "payments.AuthorizePayment"

    payment_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class VoidPayment(Command[None]):
    """Undo ``AuthorizePayment``: let the hold go, for good."""

    name: ClassVar[str] = "payments.VoidPayment"

    payment_id: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class CapturePayment(Command[CapturedPayment]):
    """Take the money that is held; a pivot.

    Rejects with the provider's code, or ``hold_gone`` where the bank has let the money go, after
    the provider has closed the payment for good.
    """

    name: ClassVar[str] = "payments.CapturePayment"

    payment_id: UUID
