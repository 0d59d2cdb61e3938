"""One step forward: the transactions of a local and of a remote handler."""

from collections.abc import Callable
from typing import Any

from sagas.core import codec
from sagas.core.commands import Command, Rejected, reply_type
from sagas.core.definition import Kind
from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import group, stops, store
from sagas.orchestration.commits import Outcome, commit, commit_intent, enter_pivot
from sagas.orchestration.handlers import Handler, handler_of
from sagas.orchestration.limits import limit_of
from sagas.orchestration.store import Target
from sagas.orchestration.turning import turn_step_round
from sagas.orchestration.work import (
    CannotReject,
    Done,
    Work,
    call_out,
    done,
    entry,
    running,
)
from sagas.sometimes import sometimes


class StepRejected(SagasError):
    """A participant said no, and the compensation has begun."""

    cursor: int | None = None
    """Where the saga stands now, if that is not its last step."""


def do_step(work: Work) -> Done:
    """Run a step forward.

    A no turns the saga round in the same commit; what is returned then says why.

    :raises StepRejected: if it said no, and the compensation is another worker's
    :raises StaleFencingToken: if the saga is no longer this worker's; nothing was written
    """
    if work.step.when is not None and not work.step.when(work.state):
        return _pass_over(work)
    build = work.step.do
    assert build is not None
    command = build(work.state)
    handler = handler_of(command)
    with running(work, Direction.DO):
        carry_out = _do_remote if handler.is_remote else _do_local
        found = carry_out(work, command, handler)
    if found.rejected is not None and not found.kept_lease:
        rejected = StepRejected(found.rejected)
        rejected.cursor = found.cursor
        raise rejected
    return found


def _pass_over(work: Work) -> Done:
    """Commit that the step's condition was false, so that nobody asks again."""
    passed = Outcome(state=RunState.SKIPPED, reply={"when": False})
    with running(work, Direction.DO):
        return commit(work, Direction.DO, lambda: passed, _conclude)


def _do_local(work: Work, command: Command[Any], handler: Handler) -> Done:
    if work.step.kind is Kind.PIVOT:
        enter_pivot(work)
    try:
        return _commit(work, lambda: handler.carry_out(command), command)
    except Rejected as no:
        rejected = no
    return _reject(work, rejected)


def _do_remote(work: Work, command: Command[Any], handler: Handler) -> Done:
    assert handler.intent is not None
    intend = handler.intent
    try:
        begun = commit_intent(work, Direction.DO, lambda: intend(command), _conclude)
    except Rejected as no:
        if work.step.kind is Kind.PIVOT:
            # An earlier attempt may have got as far as its call; only close= can make a no final.
            raise CannotReject(f"{command.name}: {no.reason}, before the call") from no
        rejected = no
    else:
        if isinstance(begun, Done):
            return begun
        return _do_intended(work, command, handler, begun.intent)
    return _reject(work, rejected)


def _do_intended(work: Work, command: Command[Any], handler: Handler, intent: Any) -> Done:
    try:
        outcome = call_out(work, handler.call, command, intent)
    except Rejected as no:
        rejected = no
    else:
        return _record(work, handler, command, intent, outcome)
    if work.step.kind is Kind.PIVOT:
        # A worker that froze before its own call may still thaw: the no must be made final
        # before anything is undone, or money moves in the middle of the compensation.
        failpoint("close.before", work.place)
        outcome = call_out(work, handler.close, command, intent, "close.returned")
        if outcome is not None:
            sometimes("close.was_done")
            return _record(work, handler, command, intent, outcome)
    return _reject(work, rejected, lambda: _note_refusal(handler, command, intent, rejected))


def _record(work: Work, handler: Handler, command: Any, intent: Any, outcome: Any) -> Done:
    try:
        return _commit(work, lambda: handler.carry_out(command, intent, outcome), command)
    except Rejected as no:
        raise CannotReject(f"{command.name}: {no}, after the call had succeeded") from no


def _commit(work: Work, carry_out: Callable[[], Any], command: Command[Any]) -> Done:
    return commit(work, Direction.DO, lambda: answered(command, carry_out()), _conclude)


def answered(command: Command[Any], reply: Any) -> Outcome:
    """Return what a step came to that was carried out.

    :raises CannotEncode: if the reply is not what the command promises, or could not be read back
    """
    # Before the commit: past it, it could be neither kept nor read, and the step not undone.
    codec.encode_as(reply_type(type(command)), reply)
    return Outcome(state=RunState.DONE, reply=reply)


def _note_refusal(handler: Handler, command: Any, intent: Any, rejected: Rejected) -> None:
    if handler.refused is not None:
        handler.refused(command, intent, rejected)


def _conclude(work: Work, outcome: Outcome) -> Done:
    """Move the saga for what a step came to, perhaps under an earlier worker."""
    if outcome.state is RunState.REJECTED:
        return turn_round(work, Rejected(outcome.reply))
    if outcome.state is RunState.SKIPPED:
        return move_on(work, work.state, outcome.reply, RunState.SKIPPED)
    return move_on(work, *kept(work, outcome.reply))


def kept(work: Work, reply: Any) -> tuple[Any, Any]:
    """Return the state with the reply folded into it, and the reply as it is stored."""
    state = work.state
    # The replies of a group are folded when its last branch is done.
    if work.step.keep is not None and work.group is None:
        state = work.step.keep(state, reply)
    return state, None if reply is None else codec.encode(reply)


def move_on(work: Work, state: Any, reply: Any, outcome: RunState = RunState.DONE) -> Done:
    """Write the step's completion, in the transaction of its effect."""
    if work.group is None:
        moved = _forward(work, state, reply, outcome)
    else:
        moved = group.finish_branch(work, outcome, reply)
    failpoint("step.before_commit", work.place)
    return moved


def _forward(work: Work, state: Any, reply: Any, outcome: RunState) -> Done:
    target = target_of(work, state)
    store.move(work.claimed, entry(work, Direction.DO, outcome, reply), target)
    group.open_group(work.saga, work.claimed.saga_id, target.cursor)
    return done(target, state, outcome)


def target_of(work: Work, state: Any) -> Target:
    """Return where a step that is done takes its saga."""
    cursor = work.number + 1
    finished = cursor > work.saga.last
    past_return = work.claimed.past_return or cursor >= work.saga.first_retriable
    keeps = not work.saga.ends_chain(cursor) and work.keeps_lease()
    return Target(
        status=Status.COMPLETED if finished else Status.RUNNING,
        cursor=cursor,
        past_return=past_return,
        keep_lease=keeps,
        deferred=keeps and not past_return and work.may_defer(Direction.DO),
        state=stored(work, state),
        finished=finished,
        step_deadline_at=limit_of(work.saga, cursor, work.claimed),
    )


def stored(work: Work, state: Any) -> Any:
    """Return a new state as it is stored, None for the one that there is."""
    return None if state is work.state else codec.encode_as(work.saga.state, state)


def _reject(work: Work, rejected: Rejected, note: Callable[[], None] | None = None) -> Done:
    """Turn the saga round in one commit: what the participant notes, and the status."""
    _check_return(work, rejected)

    def effect() -> Outcome:
        if note is not None:
            note()
        return Outcome(state=RunState.REJECTED, reply=rejected.reason)

    return commit(work, Direction.DO, effect, _conclude)


def _check_return(work: Work, rejected: Rejected) -> None:
    may_not = work.claimed.past_return and work.step.awaits is not None
    if may_not or work.step.kind is Kind.RETRIABLE:
        raise CannotReject(f"{work.step.name}: {rejected.reason}") from rejected


def turn_round(work: Work, rejected: Rejected) -> Done:
    """Write that a step was rejected and the compensation begins, as the last of a transaction.

    :raises CannotReject: if the saga can only go forward
    """
    _check_return(work, rejected)
    if work.group is None:
        return turn_step_round(work, rejected)
    _note_rejection(work, rejected)
    turned = group.turn_round(work, rejected)
    failpoint("reject.before_commit", work.place)
    return turned


def _note_rejection(work: Work, rejected: Rejected) -> None:
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
