"""One step back: its compensation, or the closed door where it never ran."""

from typing import Any

from sagas.core.commands import Rejected
from sagas.core.definition import command_type
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import store
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
    write_intent,
)
from sagas.transactions import transaction


def undo_step(work: Work) -> Done:
    """Undo a step, or close the door on it when it never ran.

    :raises StaleFencingToken: if the saga is no longer this worker's; nothing was written
    """
    with running(work, Direction.UNDO):
        if work.step.undo is None:
            with transaction(work.context):
                forward = store.tombstone(work.claimed, work.number, work.context)
                # A wait that has ended is undone by passing it.
                return _retreat(
                    work, RunState.DONE if forward == RunState.DONE else RunState.NOTHING
                )
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
        write_intent(work, Direction.UNDO)
    failpoint("intent.committed", work.place)
    outcome = call_out(work, handler.call, command, intent)
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
    store.move(work.claimed, entry(work, Direction.UNDO, state), target)
    failpoint("step.before_commit", work.place)
    return done(target, work.state)
