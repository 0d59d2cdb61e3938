"""Test cards: payment-method tokens that misbehave in one known way each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What happens to a call that is struck."""

    operation: str
    """The operation it strikes, or ``any``."""
    action: str
    """One of ``ACTIONS``."""
    seconds: float | None = None
    """How long it hangs or is slow; None is the default of the process."""
    code: str | None = None
    """Why the card is declined."""
    once: bool = False
    """Strikes the first call only."""


ACTIONS = frozenset(
    {
        "slow",
        "busy",
        "in_progress",
        "decline",
        "refuse",
        "error_before",
        "error_after",
        "hang_before",
        "hang_after",
        "drop_before",
        "drop_after",
    }
)
OPERATIONS = frozenset(
    {"any", "prepare", "confirm", "capture", "cancel", "refund", "get", "list", "balance"}
)

CARDS: Mapping[str, tuple[Fault, ...]] = {
    "card_good": (),
    "card_declined": (Fault(operation="confirm", action="decline", code="generic_decline"),),
    "card_insufficient_funds": (
        Fault(operation="confirm", action="decline", code="insufficient_funds"),
    ),
    "card_capture_declined": (
        Fault(operation="capture", action="decline", code="generic_decline"),
    ),
    "card_timeout_before": (Fault(operation="confirm", action="hang_before", once=True),),
    "card_timeout_after": (Fault(operation="capture", action="hang_after", once=True),),
    "card_error_after": (Fault(operation="capture", action="error_after", once=True),),
    "card_slow": (Fault(operation="any", action="slow", seconds=0.8),),
}


def standing_fault(card: str, operation: str) -> Fault | None:
    """Return what the card does to every call of this operation, if anything."""
    return next(
        (
            fault
            for fault in CARDS.get(card, ())
            if not fault.once and fault.operation in {operation, "any"}
        ),
        None,
    )


def first_call_faults(card: str) -> tuple[Fault, ...]:
    """Return what the card does to the first call only; it becomes rows of the intent."""
    return tuple(fault for fault in CARDS[card] if fault.once)
