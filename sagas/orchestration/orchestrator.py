"""The verbs on a saga: start it, cancel it, and what an operator may do, each with a reason."""

from typing import Any, TypeVar
from uuid import UUID

from sagas import clock
from sagas.core import codec
from sagas.core.definition import Kind, Saga
from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.correlation import current_or_new
from sagas.error_texts import storable
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration import (
    asking,
    branch_stops,
    canvas,
    group,
    registry,
    requests,
    rollout,
    skipping,
    stops,
    versions,
)
from sagas.orchestration.audited import act
from sagas.orchestration.insertion import NewSaga
from sagas.orchestration.seen import Seen, changed
from sagas.orchestration.starting import Again, Started, refuse_key_of_a_later_run, start_once
from sagas.orchestration.status import NoSuchSaga
from sagas.orchestration.stops import Cancellation
from sagas.orchestration.store import StaleFencingToken
from sagas.reasons import refuse_untold
from sagas.spans import span
from sagas.transactions import ENGINE, after_commit, is_detached, transaction, transaction_required

S = TypeVar("S")


class ForeignSaga(SagasError):
    """A saga starts in its own context, whose transaction has done its first step."""


def start(
    saga: Saga[S],
    state: S,
    *,
    key: str,
    saga_id: UUID | None = None,
    subject_id: UUID | None = None,
    again: Again = Again.SAME,
) -> UUID:
    """Start a saga in the caller's transaction, and return its id.

    Safe to repeat: the same saga under the same business key returns the first one's id, whatever
    its state is now (``again`` has the other answers). The row is its own outbox: the chain is
    rung after the commit, and the sweeper starts what was never rung.

    :raises AlreadyStarted: if the key is taken and ``again`` is ``REFUSE``
    :raises IdTaken: if ``saga_id`` is that of another saga
    :raises Locked: if its aggregate is in the hand of another saga and its lock refuses
    :raises OutsideTransaction: if no transaction is open
    :raises ForeignSaga: if the transaction is another context's
    :raises UnfitKey: if the key is empty, longer than 1000 bytes, or ends in # and a number
    :raises UnknownSaga: if the definition is not registered
    :raises CannotEncode: if the state is of another type, or could not be read back as it is
    """
    again = Again(again)  # of a word that is compared with none of them a second saga would come
    context = transaction_required()
    if saga.context != context:
        raise ForeignSaga(f"{saga.name} started in a transaction of {context}")
    registered = rollout.to_start(registry.get(saga.name, saga.version), key)
    with span(f"start {saga.name}", "producer", saga=saga.name):
        new = new_saga(
            registered, state, saga_id=saga_id, key=key, subject_id=subject_id, context=context
        )
        if is_detached(context):
            return asking.ask_to_start(registered, new, again)
        return begin(registered, new, again).saga_id


def begin(
    saga: Saga[Any], new: NewSaga, again: Again = Again.SAME, *, refuses: bool = True
) -> Started:
    """Write a new saga in the caller's transaction and ring for it, unless its key is taken.

    :param refuses: false where nobody is there to be refused: the saga sleeps in any case
    :raises AlreadyStarted: if it is, and ``again`` is ``REFUSE``
    :raises Locked: if its aggregate is in the hand of another saga and its lock refuses
    """
    started = start_once(saga, new, again, refuses=refuses)
    if started.is_new and not started.is_asleep:
        group.open_group(saga, new.saga_id, new.cursor)
        after_commit(lambda: _ring_first(saga, new))
    return started


def _ring_first(saga: Saga[Any], new: NewSaga) -> None:
    failpoint("start.committed")
    canvas.send(
        saga,
        new.saga_id,
        cursor=new.cursor,
        direction=Direction.DO,
        traceparent=new.traceparent,
    )


def new_saga(
    saga: Saga[Any],
    state: Any,
    *,
    saga_id: UUID | None = None,
    key: str,
    subject_id: UUID | None = None,
    context: str,
    parent: tuple[UUID, int] | None = None,
) -> NewSaga:
    """Return what is written of a saga when it starts.

    :param parent: the saga and the number of its step that starts this one
    :raises UnfitKey: if the key could not be stored, or ends like that of a later run
    """
    refuse_key_of_a_later_run(saga.name, key)
    correlation = current_or_new()
    first = saga.steps[0]
    begun = first.name if first.kind is Kind.BEGUN else None
    cursor = 0 if begun is None else 1
    return NewSaga(
        saga_id=saga_id or uuid7(),
        name=saga.name,
        def_version=saga.version,
        fingerprint=saga.fingerprint,
        key=key,
        subject_id=subject_id,
        cursor=cursor,
        last_step=saga.last,
        begun_step=begun,
        context=context,
        past_return=cursor >= saga.first_retriable,
        state=codec.encode_as(saga.state, state),
        deadline_at=clock.now() + saga.deadline,
        correlation_id=correlation.correlation_id,
        causation_id=correlation.causation_id,
        traceparent=correlation.traceparent,
        parent_id=parent[0] if parent else None,
        parent_step=parent[1] if parent else None,
    )


def cancel(saga_id: UUID, *, reason: str, by: str) -> Cancellation:
    """Ask a saga to turn round; answered at once and for good.

    Safe to repeat: a saga that compensates already answers FINISHED.

    :raises NoSuchSaga: if there is none with this id
    """
    with transaction("sagas"):
        return ask_to_cancel(saga_id, reason=reason, by=by)


def ask_to_cancel(saga_id: UUID, *, reason: str, by: str) -> Cancellation:
    """Do what ``cancel`` does inside the caller's transaction.

    Where the caller's context has a database of its own the answer may be ASKED.

    :raises NoSuchSaga: if there is none with this id
    """
    context = transaction_required()
    # Perhaps a customer's own words; nothing is worth less because of how it is written.
    reason, by = storable(reason), storable(by)
    if is_detached(context):
        return requests.ask_to_cancel(saga_id, reason=reason, by=by)
    accepted = stops.begin_compensation(saga_id, failure=reason, by=by)
    if accepted:
        failpoint("cancel.before_commit")
        _ring_undo(saga_id)
        return Cancellation.ACCEPTED
    row = SagaInstance.objects.filter(id=saga_id).values_list("status").first()
    if row is None:
        raise NoSuchSaga
    return Cancellation.TOO_LATE if row[0] == Status.RUNNING else Cancellation.FINISHED


def _ring_undo(saga_id: UUID) -> None:
    row = SagaInstance.objects.get(id=saga_id)

    def ring() -> None:
        failpoint("cancel.committed")
        saga, trace = versions.to_ring(saga_id, row), row.traceparent
        if saga is not None:
            canvas.send(
                saga, saga_id, cursor=row.last_step, direction=Direction.UNDO, traceparent=trace
            )

    after_commit(ring)


def resume(saga_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """Let a parked saga go on where it stopped, for an operator.

    Safe when two press at once: the second finds it no longer parked and gets False.

    :param seen: what a person saw who decided; a saga that stands otherwise by now is left alone
    :raises ReasonMissing: if the reason is empty
    """
    return act("resume", saga_id, by=by, reason=reason, done=lambda: _resume(saga_id, seen))


def park(saga_id: UUID, *, by: str, reason: str) -> bool:
    """Stop an unfinished saga until an operator resumes it.

    :raises ReasonMissing: if the reason is empty
    """
    return act("park", saga_id, by=by, reason=reason, done=lambda: _park(saga_id, reason))


def skip(
    saga_id: UUID,
    *,
    by: str,
    reason: str,
    step: str | None = None,
    seen: Seen | None = None,
) -> bool:
    """Settle the step that a parked saga stands at by hand, and let the saga go on.

    On the way back it says that a person has undone the step; forward only a step may be skipped
    whose definition says so. Safe when two press at once: the second gets False.

    :param step: its name, as a check; needed in a group of which more than one branch is left
    :param seen: what a person saw who decided; a saga that stands otherwise by now is left alone
    :raises ReasonMissing: if the reason is empty
    """
    refuse_untold(by=by, reason=reason)
    found = skipping.find(saga_id, step, seen)
    if found is None:
        return act("skip", saga_id, by=by, reason=reason, done=lambda: False)

    def done() -> bool:
        return skipping.settle(found, by=by, reason=reason)

    context = ENGINE if is_detached(found.context) else found.context
    try:
        return act("skip", saga_id, by=by, reason=reason, done=done, context=context)
    except (StaleFencingToken, group.CannotKeep):
        # Rolled back: somebody was faster, or a reply of its group is not kept.
        return act("skip", saga_id, by=by, reason=reason, done=lambda: False)


def _is_as_seen(saga_id: UUID, seen: Seen | None) -> bool:
    """Compare with what somebody saw, and hold the row until the act on it is committed."""
    if seen is None:
        return True
    row = SagaInstance.objects.select_for_update().filter(id=saga_id).first()
    return row is not None and changed(seen, row) is None


def _resume(saga_id: UUID, seen: Seen | None) -> bool:
    if not _is_as_seen(saga_id, seen):
        return False
    accepted = stops.resume(saga_id, token=seen.token if seen else None)
    if accepted:
        branch_stops.reset(saga_id)
    return accepted


def _park(saga_id: UUID, reason: str) -> bool:
    accepted = stops.park(saga_id, reason=reason)
    if accepted:
        branch_stops.stop(saga_id)
    return accepted


def compensate(saga_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """Turn a running saga round, for an operator; False past the point of no return.

    :param seen: what a person saw who decided; a saga that stands otherwise by now is left alone
    :raises ReasonMissing: if the reason is empty
    """
    token = seen.token if seen else None

    def done() -> bool:
        return _is_as_seen(saga_id, seen) and stops.begin_compensation(
            saga_id, failure=reason, by=by, token=token
        )

    return act("compensate", saga_id, by=by, reason=reason, done=done)
