"""The log of operations: written before a call, resolved with its answer.

The key sent to the provider is the engine's effect key and a number.  It stays the same for as
long as the outcome is unknown, since the provider replays the first answer under it.  Only a
definite no raises the number (``noting_refusals``): it is stored under the key, so no earlier
request can take effect any more, and a later one would be told the same for ever.  A no to the
cancel that makes a refusal final raises the number of that cancel alone: the refused call keeps
its key, so that the bank is not asked again for what it has refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db.models import F, QuerySet

from payments.gateway import ProviderCall, ProviderRefusal
from payments.models import OperationKind, Payment, PaymentOperation
from payments.states import UNRESOLVED, OperationStatus
from sagas.api import Rejected, clock, current_run, failpoint, sometimes, transaction


class OperationResolved(Exception):
    """The answer of this operation is recorded already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """An operation that is about to be sent."""

    payment: Payment
    call: ProviderCall
    ask_first: bool
    """It was sent before, and the answer is not recorded: ask the provider what became of it."""
    negatives: int
    """How many definite refusals the key counts."""


def open_operation(payment: Payment, kind: OperationKind) -> Opened:
    """Write down that a call is about to be made, or made again.

    :raises OperationResolved: if there is nothing left to send
    """
    run = current_run()
    known = PaymentOperation.objects.filter(effect_key=run.effect_key).first()
    if known is None:
        key, negatives = _key(run.effect_key, 0), 0
        PaymentOperation.objects.create(
            payment=payment,
            kind=kind,
            amount=payment.amount,
            effect_key=run.effect_key,
            idempotency_key=key,
            sent_at=clock.now(),
        )
    else:
        key, negatives = known.idempotency_key, known.negatives
        _mark_unknown(run.effect_key)
    call = ProviderCall(key=key, correlation_id=run.correlation_id)
    return Opened(payment=payment, call=call, ask_first=known is not None, negatives=negatives)


@contextmanager
def noting_refusals(opened: Opened, *, closing: bool = False) -> Iterator[None]:
    """Count a definite no of the provider to a call of this block, and pass it on.

    The count is a fact about the provider, whoever has heard it, and so a commit of its own.

    :param closing: the call is the cancel that makes the refusal of the operation final
    """
    try:
        yield
    except ProviderRefusal:
        _raise_key(opened, closing=closing)
        raise


def _raise_key(opened: Opened, *, closing: bool) -> None:
    """Let the next attempt have a new key, if nobody has seen to that.

    Only the key that was answered has a successor: the same no that comes twice, or reaches a
    worker that was frozen meanwhile, is counted once.
    """
    run, negatives = current_run(), opened.negatives + 1
    key = opened.call.key if closing else _key(run.effect_key, negatives)
    with transaction("payments"):
        answered = _unresolved(run.effect_key).filter(
            idempotency_key=opened.call.key, negatives=opened.negatives
        )
        noted = answered.update(negatives=negatives, idempotency_key=key)
        failpoint("negative.before_commit", run.place)
    failpoint("negative.committed", run.place)
    sometimes("key.raised" if noted else "refusal.repeated")


def _key(effect_key: str, negatives: int) -> str:
    return f"{effect_key}:{negatives}"


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


def note_closing(refused: Opened) -> None:
    """Record the cancel by which the refusal of an operation was made final."""
    payment, key = refused.payment, closing_key(refused)
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


def closing_key(refused: Opened) -> str:
    """Return the key of the cancel that makes the refusal of another call final."""
    return f"{refused.call.key}:close:{refused.negatives}"


def _unresolved(effect_key: str) -> QuerySet[PaymentOperation]:
    return PaymentOperation.objects.filter(effect_key=effect_key, status__in=UNRESOLVED)
