"""The states of a payment and of an operation and the moves between them, as data."""

from collections.abc import Mapping

from django.db.models import TextChoices


class PaymentStatus(TextChoices):
    """Where a payment stands."""

    CREATED = "created"
    """No money is held."""
    AUTHORIZED = "authorized"
    """The amount is held on the card."""
    CAPTURED = "captured"
    """The money is ours."""
    FAILED = "failed"
    """No money was ever held, and none will be."""
    VOIDED = "voided"
    """The hold was let go."""


class OperationStatus(TextChoices):
    """What is known of one call that can move money."""

    SENT = "sent"
    """About to be sent, or sent; the answer is not recorded."""
    UNKNOWN = "unknown"
    """An answer was lost: the provider is asked before the call is repeated."""
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    """A definite no."""


PAYMENT_TRANSITIONS: Mapping[PaymentStatus, frozenset[PaymentStatus]] = {
    # Straight to voided: the answer of the hold was lost, and the provider let it go.
    PaymentStatus.CREATED: frozenset(
        {PaymentStatus.AUTHORIZED, PaymentStatus.FAILED, PaymentStatus.VOIDED}
    ),
    PaymentStatus.AUTHORIZED: frozenset({PaymentStatus.CAPTURED, PaymentStatus.VOIDED}),
    PaymentStatus.CAPTURED: frozenset(),
    PaymentStatus.FAILED: frozenset(),
    PaymentStatus.VOIDED: frozenset(),
}

OPERATION_TRANSITIONS: Mapping[OperationStatus, frozenset[OperationStatus]] = {
    OperationStatus.SENT: frozenset(
        {OperationStatus.UNKNOWN, OperationStatus.SUCCEEDED, OperationStatus.DECLINED}
    ),
    OperationStatus.UNKNOWN: frozenset({OperationStatus.SUCCEEDED, OperationStatus.DECLINED}),
    OperationStatus.SUCCEEDED: frozenset(),
    OperationStatus.DECLINED: frozenset(),
}

LIVE = (PaymentStatus.CREATED, PaymentStatus.AUTHORIZED, PaymentStatus.CAPTURED)
"""A payment that still counts: there is one of these for a purpose at most."""

UNRESOLVED = (OperationStatus.SENT, OperationStatus.UNKNOWN)


def sources_of(target: PaymentStatus) -> tuple[PaymentStatus, ...]:
    """Return the states from which a payment may move to another."""
    return tuple(source for source, targets in PAYMENT_TRANSITIONS.items() if target in targets)
