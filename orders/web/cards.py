"""The cards of a customer, and what each of the test cards does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from payments import api as payments

_WHAT_IT_DOES: Final[Mapping[str, str]] = {
    "good": "The payment goes through.",
    "declined": "The bank declines. Nothing is charged.",
    "insufficient_funds": "The bank declines: not enough money. Nothing is charged.",
    "timeout_before": "The bank does not answer at first; we ask again, and it goes through.",
    "timeout_after": "The bank takes the money but its answer is lost; we find out and go on.",
    "error_after": "The bank takes the money but reports an error; we find out and go on.",
    "slow": "The bank is slow. The payment goes through.",
    "capture_declined": "The bank agrees, then refuses to pay. Nothing is charged.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CardChoice:
    """A card to pay with."""

    id: UUID
    name: str
    what_it_does: str


def card_choices(customer_id: UUID) -> list[CardChoice]:
    """Return the cards a customer can pay with."""
    return [
        CardChoice(id=method.id, name=card_name(method), what_it_does=_words(method))
        for method in payments.methods_of(customer_id)
    ]


def card_name(method: payments.PaymentMethodView) -> str:
    """Return what is printed on a card, as far as it may be shown."""
    return f"{method.brand} ending in {method.last4}"


def _words(method: payments.PaymentMethodView) -> str:
    return _WHAT_IT_DOES.get(method.kind, method.label)
