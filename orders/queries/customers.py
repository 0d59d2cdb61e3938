"""Who asks, and what they have been told."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orders.models import Customer, Notification
from orders.tokens import digest_of


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerView:
    """A customer."""

    id: UUID
    name: str
    email: str
    currency: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NotificationView:
    """A message to a customer."""

    id: UUID
    order_id: UUID
    template: str
    subject: str
    body: str
    is_read: bool
    created_at: datetime


def customer_of(customer_id: UUID) -> CustomerView | None:
    """Return a customer, or None if there is no such."""
    return _view(Customer.objects.filter(id=customer_id).first())


def customer_by_user(user_id: int) -> CustomerView | None:
    """Return the customer who signed in, or None if the sign-in is nobody's who orders."""
    return _view(Customer.objects.filter(user_id=user_id).first())


def customer_by_token(token: str) -> CustomerView | None:
    """Return the customer that a token acts for, or None if it is worth nothing."""
    digest = digest_of(token)
    return _view(
        Customer.objects.filter(tokens__digest=digest, tokens__revoked_at__isnull=True).first()
    )


def notifications_of(customer_id: UUID, *, limit: int = 50) -> list[NotificationView]:
    """Return what a customer has been told, the newest first."""
    rows = Notification.objects.filter(customer_id=customer_id).order_by("-created_at", "-id")
    return [
        NotificationView(
            id=row.id,
            order_id=row.order_id,
            template=row.template,
            subject=row.subject,
            body=row.body,
            is_read=row.status == "read",
            created_at=row.created_at,
        )
        for row in rows[:limit]
    ]


def _view(customer: Customer | None) -> CustomerView | None:
    if customer is None:
        return None
    return CustomerView(
        id=customer.id, name=customer.name, email=customer.email, currency=customer.currency
    )
