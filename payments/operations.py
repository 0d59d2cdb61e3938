"""The log of operations: written before a call, resolved with its answer.

The key sent to the provider is the engine's effect key and a number.  It stays the same for as
long as the outcome is unknown, since the provider replays the first answer under it; only a
definite no may raise the number, and as a no ends the payment it is always 0 today.
"""

from dataclasses import dataclass

from django.db.models import F, QuerySet

from payments.gateway import ProviderCall
from payments.models import OperationKind, Payment, PaymentOperation
from payments.states import UNRESOLVED, OperationStatus
from sagas.api import Rejected, clock, current_run


class OperationResolved(Exception):
    """The answer of this operation is recorded already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An operation that is about to be sent."""

    payment: Payment
    call: ProviderCall
    ask_first: bool
    """It was sent before, and the answer is not recorded: ask the provider what became of it."""


def open_operation(payment: Payment, kind: OperationKind) -> Opened:
    """Write down that a call is about to be made, or made again.

    :raises OperationResolved: if there is nothing left to send
    """
    run = current_run()
    known = PaymentOperation.objects.filter(effect_key=run.effect_key).first()
    if known is None:
        key = f"{run.effect_key}:0"
        PaymentOperation.objects.create(
            payment=payment,
            kind=kind,
            amount=payment.amount,
            effect_key=run.effect_key,
            idempotency_key=key,
            sent_at=clock.now(),
        )
    else:
        key = known.idempotency_key
        _mark_unknown(run.effect_key)
    call = ProviderCall(key=key, correlation_id=run.correlation_id)
    return Opened(payment=payment, call=call, ask_first=known is not None)


def _mark_unknown(effect_key: str) -> None:
    marked = _unresolved(effect_key).update(
        status=OperationStatus.UNKNOWN, inquiries=F("inquiries") + 1
    )
    if not marked:
        raise OperationResolved(effect_key)


def note_success() -> None:
    """Record that the current operation is done.

    :raises OperationResolved: if its answer is recorded already
    """
    effect_key = current_run().effect_key
    resolved = {"status": OperationStatus.SUCCEEDED, "resolved_at": clock.now()}
    if not _unresolved(effect_key).update(**resolved):
        raise OperationResolved(effect_key)


def note_refusal(rejected: Rejected) -> None:
    """Record a definite no to the current operation.

    :raises OperationResolved: if its answer is recorded already
    """
    effect_key = current_run().effect_key
    noted = _unresolved(effect_key).update(
        status=OperationStatus.DECLINED,
        decline_code=rejected.reason,
        negatives=F("negatives") + 1,
        resolved_at=clock.now(),
    )
    if not noted:
        raise OperationResolved(effect_key)


def note_closing(payment: Payment) -> None:
    """Record the cancel by which the refusal of the current operation was made final."""
    key = closing_key(f"{current_run().effect_key}:0")
    now = clock.now()
    PaymentOperation.objects.create(
        payment=payment,
        kind=OperationKind.VOID,
        amount=payment.amount,
        effect_key=key,
        idempotency_key=key,
        status=OperationStatus.SUCCEEDED,
        sent_at=now,
        resolved_at=now,
    )


def closing_key(key: str) -> str:
    """Return the key of the cancel that makes the refusal of another call final."""
    return f"{key}:close"


def _unresolved(effect_key: str) -> QuerySet[PaymentOperation]:
    return PaymentOperation.objects.filter(effect_key=effect_key, status__in=UNRESOLVED)
