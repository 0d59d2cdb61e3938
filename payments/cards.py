"""What is known of the simulated provider's cards, as a form at its site would tell us."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class CardDescription:
    """What is shown of a card."""

    brand: str
    last4: str
    label: str

    kind: str
    """How it behaves: ``good``, ``declined``, ``timeout_after`` …"""


def _card(kind: str, last4: str, label: str) -> tuple[str, CardDescription]:
    described = CardDescription(brand="Visa", last4=last4, label=label, kind=kind)
    return f"card_{kind}", described


DESCRIPTIONS: Mapping[str, CardDescription] = dict(
    (
        _card("good", "4242", "Works"),
        _card("declined", "0002", "Is declined"),
        _card("insufficient_funds", "9995", "Has no money"),
        _card("timeout_before", "0019", "The bank does not answer at first"),
        _card("timeout_after", "0027", "The bank takes the money and does not say so"),
        _card("error_after", "0035", "The bank takes the money and reports an error"),
        _card("slow", "0043", "The bank is slow"),
        _card("capture_declined", "0050", "Is good for a hold, but not for the money"),
    )
)
"""By the provider's token."""
