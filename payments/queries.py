"""Reads: what pages and other contexts may see of payments."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from payments.models import Payment, PaymentMethod


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentMethodView:
    """A card of a customer."""

    id: UUID
    customer_id: UUID
    brand: str
    last4: str
    label: str
    kind: str
    active: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PaymentView:
    """A payment as others see it."""

    id: UUID
    order_id: UUID
    customer_id: UUID
    status: str
    currency: str
    amount: int
    authorized: int
    captured: int
    voided: int
    refunded: int
    provider_ref: str
    brand: str
    last4: str
    captured_at: datetime | None

    @property
    def open_hold(self) -> int:
        """Return what is still held on the card."""
        return self.authorized - self.captured - self.voided


def methods_of(customer_id: UUID) -> tuple[PaymentMethodView, ...]:
    """Return the cards a customer can pay with, oldest first."""
    mine = PaymentMethod.objects.filter(customer_id=customer_id, active=True).order_by("id")
    return tuple(method_view(method) for method in mine)


def method_of(customer_id: UUID, method_id: UUID) -> PaymentMethodView | None:
    """Return one card a customer can pay with; that of another customer is not found."""
    mine = PaymentMethod.objects.filter(id=method_id, customer_id=customer_id, active=True)
    method = mine.first()
    return None if method is None else method_view(method)


def payment_for_order(order_id: UUID) -> PaymentView | None:
    """Return the payment of an order: the one that counts, else the latest that came to nothing."""
    payments = Payment.objects.filter(purpose="order", purpose_id=order_id)
    payment = payments.select_related("method").order_by("-live", "-id").first()
    return None if payment is None else _payment_view(payment)


def method_view(method: PaymentMethod) -> PaymentMethodView:
    """Show a card."""
    return PaymentMethodView(
        id=method.id,
        customer_id=method.customer_id,
        brand=method.brand,
        last4=method.last4,
        label=method.label,
        kind=method.kind,
        active=method.active,
    )


def _payment_view(payment: Payment) -> PaymentView:
    return PaymentView(
        id=payment.id,
        order_id=payment.purpose_id,
        customer_id=payment.customer_id,
        status=payment.status,
        currency=payment.currency,
        amount=payment.amount,
        authorized=payment.authorized,
        captured=payment.captured,
        voided=payment.voided,
        refunded=payment.refunded,
        provider_ref=payment.provider_ref or "",
        brand=payment.method.brand if payment.method else "",
        last4=payment.method.last4 if payment.method else "",
        captured_at=payment.captured_at,
    )
