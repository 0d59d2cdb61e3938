"""One step, forward or back: the transactions of a local and of a remote handler."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagas import clock
from sagas.core import codec
from sagas.core.commands import Command, Rejected
from sagas.core.definition import Kind, Saga, Step, command_type
from sagas.core.errors import SagasError
from sagas.core.keys import Direction, effect_key
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import stops, store
from sagas.orchestration.handlers import Handler, handler_of
from sagas.orchestration.run import RUN, Run
from sagas.orchestration.store import Claim, Entry, Target
from sagas.transactions import outside_transaction, transaction


class StepRejected(SagasError):
    """A participant said no, and the compensation has begun."""


class CannotReject(SagasError):
    """A step after the point of no return, or a compensation, was rejected: it must succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is needed to run the step under a saga's cursor."""

    saga: Saga[Any]
    claimed: Claim
    state: Any
    keeps_lease: Callable[[], bool]

    @property
    def number(self) -> int:
        """Return the step's number."""
        return self.claimed.cursor

    @property
    def step(self) -> Step[Any]:
        """Return the step's definition."""
        return self.saga.steps[self.number]

    @property
    def context(self) -> str:
        """Return the context that carries the step out."""
        return self.saga.contexts[self.number]

    @property
    def place(self) -> str:
        """Return the step as failpoints name it: ``undo.`` before the name on the way back."""
        back = self.claimed.status == Status.COMPENSATING
        return f"undo.{self.step.name}" if back else self.step.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What a committed step leaves behind."""

    cursor: int
    past_return: bool
    state: Any
    kept_lease: bool
    at: datetime


def do_step(work: Work) -> Done:
    """Run a step forward.

    :raises StepRejected: if the participant said no; compensation has begun in the same commit
    :raises StaleFencingToken: if the saga is no longer this worker's; nothing was written
    """
    build = work.step.do
    assert build is not None
    command = build(work.state)
    handler = handler_of(command)
    with _running(work, Direction.DO):
        if handler.is_remote:
            return _do_remote(work, command, handler)
        return _do_local(work, command, handler)


def _do_local(work: Work, command: Command[Any], handler: Handler) -> Done:
    try:
        with transaction(work.context):
            return _advance(work, handler.carry_out(command))
    except Rejected as no:
        rejected = no
    return _reject(work, rejected)


def _do_remote(work: Work, command: Command[Any], handler: Handler) -> Done:
    try:
        intent = _intend(work, command, handler, Direction.DO)
    except Rejected as no:
        if work.step.kind is Kind.PIVOT:
            # An earlier attempt may have got as far as its call; only close= can make a no final.
            raise CannotReject(f"{command.name}: {no.reason}, before the call") from no
        rejected = no
    else:
        return _do_intended(work, command, handler, intent)
    return _reject(work, rejected)


def _do_intended(work: Work, command: Command[Any], handler: Handler, intent: Any) -> Done:
    try:
        outcome = _call(work, handler.call, command, intent)
    except Rejected as no:
        rejected = no
    else:
        return _record(work, handler, command, intent, outcome)
    if work.step.kind is Kind.PIVOT:
        # A worker that froze before its own call may still thaw: the no must be made final
        # before anything is undone, or money moves in the middle of the compensation.
        failpoint("close.before", work.place)
        outcome = _call(work, handler.close, command, intent, "close.returned")
        if outcome is not None:
            return _record(work, handler, command, intent, outcome)
    return _reject(work, rejected, lambda: _note_refusal(handler, command, intent, rejected))


def _record(work: Work, handler: Handler, command: Any, intent: Any, outcome: Any) -> Done:
    try:
        with transaction(work.context):
            return _advance(work, handler.carry_out(command, intent, outcome))
    except Rejected as no:
        raise CannotReject(f"{command.name}: {no}, after the call had succeeded") from no


def _note_refusal(handler: Handler, command: Any, intent: Any, rejected: Rejected) -> None:
    if handler.refused is not None:
        handler.refused(command, intent, rejected)


def _intend(work: Work, command: Any, handler: Handler, direction: Direction) -> Any:
    """Commit that a call is about to be made; at a pivot, the point of no return."""
    assert handler.intent is not None
    with transaction(work.context):
        intent = handler.intent(command)
        _write_intent(work, direction)
    failpoint("intent.committed", work.place)
    return intent


def _write_intent(work: Work, direction: Direction) -> None:
    is_pivot = work.step.kind is Kind.PIVOT and direction is Direction.DO
    target = Target(
        status=work.claimed.status,
        cursor=work.number,
        past_return=work.claimed.past_return or is_pivot,
        keep_lease=True,
    )
    store.move(work.claimed, _entry(work, direction, RunState.INTENDED), target)
    failpoint("intent.before_commit", work.place)


def _call(
    work: Work,
    function: Callable[[Any, Any], Any] | None,
    command: Any,
    intent: Any,
    place: str = "call.returned",
) -> Any:
    assert function is not None
    outside_transaction()
    outcome = function(command, intent)
    failpoint(place, work.place)
    return outcome


def _advance(work: Work, reply: Any) -> Done:
    """Write the step's completion, in the transaction of its effect."""
    state = work.state
    if work.step.keep is not None:
        state = work.step.keep(state, reply)
    cursor = work.number + 1
    finished = cursor > work.saga.last
    target = Target(
        status=Status.COMPLETED if finished else Status.RUNNING,
        cursor=cursor,
        past_return=work.claimed.past_return or cursor >= work.saga.first_retriable,
        keep_lease=not finished and work.keeps_lease(),
        state=None if state is work.state else codec.encode(state),
        finished=finished,
    )
    encoded = None if reply is None else codec.encode(reply)
    store.move(work.claimed, _entry(work, Direction.DO, RunState.DONE, encoded), target)
    failpoint("step.before_commit", work.place)
    return _done(target, state)


def _reject(work: Work, rejected: Rejected, note: Callable[[], None] | None = None) -> Done:
    """Turn the saga round in one commit: what the participant notes, and the status."""
    if work.step.kind is Kind.RETRIABLE:
        raise CannotReject(f"{work.step.name}: {rejected.reason}") from rejected
    target = Target(
        status=Status.COMPENSATING,
        cursor=work.saga.last,
        past_return=False,
        keep_lease=False,
        failure=rejected.reason,
        failed_step=work.step.name,
        new_token=True,
    )
    with transaction(work.context):
        if note is not None:
            note()
        stops.note_rejection(
            work.claimed,
            stops.Fault(
                step_no=work.number,
                name=work.step.name,
                direction=Direction.DO,
                kind="rejected",
                error=rejected.reason,
                traceback="",
            ),
        )
        store.move(work.claimed, _entry(work, Direction.DO, RunState.REJECTED), target)
        failpoint("reject.before_commit", work.place)
    raise StepRejected(rejected.reason)


def undo_step(work: Work) -> Done:
    """Undo a step, or close the door on it when it never ran.

    :raises StaleFencingToken: if the saga is no longer this worker's; nothing was written
    """
    with _running(work, Direction.UNDO):
        if work.step.undo is None:
            with transaction(work.context):
                store.tombstone(work.claimed, work.number, work.context)
                return _retreat(work, RunState.NOTHING)
        command = work.step.undo(work.state)
        handler = handler_of(command)
        try:
            if handler.is_remote:
                return _undo_remote(work, command, handler)
            return _undo_local(work, command, handler)
        except Rejected as no:
            raise CannotReject(f"{command.name}: {no.reason}") from no


def _undo_local(work: Work, command: Any, handler: Handler) -> Done:
    with transaction(work.context):
        if not _has_effect(work):
            return _retreat(work, RunState.NOTHING)
        handler.carry_out(command)
        return _retreat(work, RunState.DONE)


def _undo_remote(work: Work, command: Any, handler: Handler) -> Done:
    assert handler.intent is not None
    with transaction(work.context):
        if not _has_effect(work):
            return _retreat(work, RunState.NOTHING)
        intent = handler.intent(command)
        _write_intent(work, Direction.UNDO)
    failpoint("intent.committed", work.place)
    outcome = _call(work, handler.call, command, intent)
    with transaction(work.context):
        handler.carry_out(command, intent, outcome)
        return _retreat(work, RunState.DONE)


def _has_effect(work: Work) -> bool:
    """Close the forward barrier, and say whether there may be something to undo.

    A local step that did not commit left nothing. A remote one may have taken effect from the
    moment its intent was committed, even where the answer was no: a frozen worker may repeat
    the call, so its undo makes the end final at the other side.
    """
    forward = store.tombstone(work.claimed, work.number, work.context)
    if forward is None:
        return False
    build = work.step.do
    is_remote = build is not None and handler_of(command_type(build)).is_remote
    return is_remote or forward == RunState.DONE


def _retreat(work: Work, state: RunState) -> Done:
    """Write the compensation's completion, in the transaction of its effect."""
    cursor = work.number - 1
    finished = cursor < 0
    target = Target(
        status=Status.COMPENSATED if finished else Status.COMPENSATING,
        cursor=cursor,
        past_return=False,
        keep_lease=not finished and work.keeps_lease(),
        finished=finished,
    )
    store.move(work.claimed, _entry(work, Direction.UNDO, state), target)
    failpoint("step.before_commit", work.place)
    return _done(target, work.state)


def _done(target: Target, state: Any) -> Done:
    return Done(
        cursor=target.cursor,
        past_return=target.past_return,
        state=state,
        kept_lease=target.keep_lease,
        at=clock.real(),
    )


def _entry(work: Work, direction: Direction, state: RunState, reply: Any = None) -> Entry:
    return Entry(
        step_no=work.number,
        name=work.step.name,
        context=work.context,
        direction=direction,
        state=state,
        started_at=work.claimed.claimed_at,
        reply=reply,
    )


@contextmanager
def _running(work: Work, direction: Direction) -> Iterator[None]:
    claimed = work.claimed
    token = RUN.set(
        Run(
            saga_id=claimed.saga_id,
            saga_name=claimed.name,
            step=work.step.name,
            step_no=work.number,
            direction=direction,
            effect_key=effect_key(claimed.saga_id, work.step.name, direction),
            attempts=claimed.attempts,
            correlation_id=claimed.correlation_id,
            failure=claimed.failure,
            canceled_by=claimed.canceled_by,
        )
    )
    try:
        yield
    finally:
        RUN.reset(token)
