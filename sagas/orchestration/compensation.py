"""One step back: its compensation, or the closed door where it never ran."""

from typing import Any

from sagas.core.commands import Rejected
from sagas.core.definition import command_type
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import barriers, branch_stops, store
from sagas.orchestration.commits import Outcome, commit, commit_intent
from sagas.orchestration.handlers import Handler, handler_of
from sagas.orchestration.store import Target
from sagas.orchestration.work import (
    CannotReject,
    Done,
    Work,
    call_out,
    done,
    entry,
    running,
)
from sagas.transactions import is_detached


def undo_step(work: Work) -> Done:
    """Undo a step, or close the door on it when it never ran.

    :raises StaleFencingToken: if the saga is no longer this worker's; nothing was written
    """
    if work.step.group is not None:
        branch_stops.take(work.claimed)
        failpoint("branch.taken", work.place)
    with running(work, Direction.UNDO):
        if work.step.undo is None:
            return close_the_door(work)
        command = work.step.undo(work.state)
        handler = handler_of(command)
        try:
            if handler.is_remote:
                return _undo_remote(work, command, handler)
            return _undo_local(work, command, handler)
        except Rejected as no:
            raise CannotReject(f"{command.name}: {no.reason}") from no


NOTHING = Outcome(state=RunState.NOTHING)
DONE = Outcome(state=RunState.DONE)


def close_the_door(work: Work) -> Done:
    """Pass a step that needs no undoing, so that it never runs forward again."""
    return commit(work, Direction.UNDO, lambda: _closed(work), _retreat)


def _closed(work: Work) -> Outcome:
    forward = _forward_run(work)
    # A wait that is over is undone by passing it.
    return DONE if forward == RunState.DONE else NOTHING


def _undo_local(work: Work, command: Any, handler: Handler) -> Done:
    def effect() -> Outcome:
        if not _has_effect(work):
            return NOTHING
        handler.carry_out(command)
        return DONE

    return commit(work, Direction.UNDO, effect, _retreat)


def _undo_remote(work: Work, command: Any, handler: Handler) -> Done:
    assert handler.intent is not None
    intend = handler.intent
    begun = commit_intent(
        work,
        Direction.UNDO,
        lambda: intend(command) if _has_effect(work) else NOTHING,
        _retreat,
    )
    if isinstance(begun, Done):
        return begun
    outcome = call_out(work, handler.call, command, begun.intent)

    def effect() -> Outcome:
        handler.carry_out(command, begun.intent, outcome)
        return DONE

    return commit(work, Direction.UNDO, effect, _retreat)


def _has_effect(work: Work) -> bool:
    """Close the forward barrier, and say whether there may be something to undo.

    A local step that did not commit left nothing. A remote one may have taken effect from the
    moment its intent was committed, even where the answer was no: a frozen worker may repeat
    the call, so its undo makes the end final at the other side.
    """
    forward = _forward_run(work)
    if work.step.awaits is not None:
        return True  # whoever undoes a child has looked at its own row
    if forward in {None, RunState.SKIPPED}:
        return False
    build = work.step.do
    is_remote = build is not None and handler_of(command_type(build)).is_remote
    return is_remote or forward == RunState.DONE


def _forward_run(work: Work) -> str | None:
    """Return what the forward run came to; one that has not come never will.

    Not asked where this worker has committed it in this very task: that is final, and on the disk,
    since the commit of the no that came after it waited.
    """
    if work.forward is not None:
        return work.forward
    return store.tombstone(work.claimed.saga_id, work.number, work.context)


def _retreat(work: Work, outcome: Outcome) -> Done:
    """Write the compensation's completion, in the transaction of its effect."""
    target = target_of(work)
    if is_detached(work.context) and work.step.awaits is None:
        barriers.journal_forward(work)
    store.move(work.claimed, entry(work, Direction.UNDO, outcome.state), target)
    failpoint("step.before_commit", work.place)
    return done(target, work.state, outcome.state)


def target_of(work: Work) -> Target:
    """Return where a step that is undone takes its saga."""
    cursor = work.number - 1
    finished = cursor < 0
    keeps = not finished and work.keeps_lease()
    return Target(
        status=Status.COMPENSATED if finished else Status.COMPENSATING,
        cursor=cursor,
        past_return=False,
        keep_lease=keeps,
        deferred=keeps and work.may_defer(Direction.UNDO),
        finished=finished,
    )
