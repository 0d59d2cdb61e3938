"""The tokens with which programs act for customers."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models.functions import Now

from orders.models import ApiToken, Customer
from orders.refusals import UnknownCustomer
from orders.tokens import digest_of, new_token
from sagas.api import transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedToken:
    """A new token; its text is known here and never again."""

    id: UUID
    text: str


def issue_token(*, customer_id: UUID, label: str) -> IssuedToken:
    """Make a token with which a program acts for a customer.

    :raises UnknownCustomer: if there is no such customer
    """
    if not Customer.objects.filter(id=customer_id).exists():
        raise UnknownCustomer("There is no such customer.", "customer")
    text = new_token()
    with transaction("orders"):
        token = ApiToken.objects.create(
            customer_id=customer_id, label=label[:100], digest=digest_of(text)
        )
    return IssuedToken(id=token.id, text=text)


def revoke_token(*, customer_id: UUID, token_id: UUID) -> bool:
    """Make a token worthless; say whether it was worth something."""
    with transaction("orders"):
        revoked = ApiToken.objects.filter(
            id=token_id, customer_id=customer_id, revoked_at__isnull=True
        ).update(revoked_at=Now())
    return revoked == 1
