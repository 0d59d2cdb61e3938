"""Into a parallel group, through it and out of it.

While a group runs, the saga stands on the number of its first branch and ``pending`` counts the
branches that are left. The commit of the last one moves it past the group; nobody else can, since
a saga with open branches cannot be claimed.
"""

from typing import Any
from uuid import UUID

from sagas import error_texts
from sagas.core import codec
from sagas.core.commands import Rejected, reply_type
from sagas.core.definition import Saga, command_type
from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import RunState
from sagas.orchestration import branch_rows, branch_stops
from sagas.orchestration.branch_rows import Joined, NewBranch
from sagas.orchestration.handover import ended
from sagas.orchestration.limits import within_of
from sagas.orchestration.work import Done, Work, entry


class CannotKeep(SagasError):
    """The reply of a branch that is done cannot be folded into the state."""

    step: str = ""
    """The branch, which may be another one than that whose commit ends the group; empty for all."""


def _cannot_keep(step: str, error: Exception) -> CannotKeep:
    unable = CannotKeep(f"the reply of {step} cannot be kept, {error_texts.text_of(error)}")
    unable.step = step
    return unable


def open_group(saga: Saga[Any], saga_id: UUID, cursor: int) -> None:
    """Open the group that begins where the cursor now stands; nothing to do if none does.

    Belongs to every transaction that moves a cursor forward. That commit must not keep the
    lease.
    """
    numbers = saga.branches(cursor)
    if numbers:
        branch_rows.open_group(
            saga_id,
            cursor,
            [
                NewBranch(
                    step_no=number, name=saga.steps[number].name, context=saga.contexts[number]
                )
                for number in numbers
            ],
        )


def finish_branch(work: Work, state: RunState, reply: Any) -> Done:
    """Write a branch's completion in the transaction of its effect; the last one joins."""
    group = work.group
    assert group is not None
    pending = branch_rows.commit(work.claimed, entry(work, Direction.DO, state, reply), group)
    cursor, saga_state = group, work.state
    if pending == 0:
        cursor, saga_state = join(
            work.saga, work.claimed.saga_id, group, work.state, past=work.claimed.past_return
        )
    return Done(
        cursor=cursor,
        past_return=work.claimed.past_return,
        state=saga_state,
        kept_lease=False,
        at=work.claimed.claimed_at,
        run=state,
    )


def join(saga: Saga[Any], saga_id: UUID, group: int, before: Any, *, past: bool) -> tuple[int, Any]:
    """Move a saga past a group with nothing left to do; return where it stands, and its state.

    Part of the transaction that did the last of it, which holds the saga's row.

    :raises CannotKeep: if a reply cannot be read or kept, or what comes out be written
    """
    numbers = saga.branches(group)
    state = _fold(saga, before, numbers, saga_id)
    cursor = numbers[-1] + 1
    finished = cursor > saga.last
    parent_id = branch_rows.join(
        saga_id,
        group,
        Joined(
            status=Status.COMPLETED if finished else Status.RUNNING,
            cursor=cursor,
            past_return=past or cursor >= saga.first_retriable,
            state=None if state is before else _written(saga, state),
            finished=finished,
            within=within_of(saga, cursor),
        ),
    )
    if finished:
        ended(saga.name, saga.version, saga_id, parent_id)
    open_group(saga, saga_id, cursor)
    return cursor, state


def _fold(saga: Saga[Any], state: Any, numbers: range, saga_id: UUID) -> Any:
    """Keep the replies in the order of the definition, whatever the order they came in."""
    found = branch_rows.replies(saga_id, numbers)
    for number in numbers:
        step = saga.steps[number]
        outcome, reply = found[number]
        if outcome == RunState.DONE and step.keep is not None and step.do is not None:
            expected = reply_type(command_type(step.do))
            try:
                state = step.keep(state, _read(expected, reply))
            except Exception as error:
                raise _cannot_keep(step.name, error) from error
    return state


def unkept(saga: Saga[Any], row: SagaInstance) -> str | None:
    """Return why the replies of the group that a saga is in cannot be kept, as far as they are."""
    try:
        state = state_of(saga, row)
        _written(saga, _fold(saga, state, saga.branches(row.cursor), row.id))
    except CannotKeep as unable:
        return str(unable)
    return None


def state_of(saga: Saga[Any], row: SagaInstance) -> Any:
    """Return the state that the replies of a group are to be kept in.

    :raises CannotKeep: if it cannot be read
    """
    try:
        return codec.decode(saga.state, row.state)
    except codec.CannotDecode as unreadable:
        raise CannotKeep(
            f"the saga's state cannot be read, {error_texts.text_of(unreadable)}"
        ) from unreadable


def _written(saga: Saga[Any], state: Any) -> Any:
    try:
        return codec.encode_as(saga.state, state)
    except codec.CannotEncode as unfit:
        raise CannotKeep(
            f"the state that its replies make cannot be written, {error_texts.text_of(unfit)}"
        ) from unfit


def _read(expected: Any, reply: Any) -> Any:
    return None if expected is type(None) else codec.decode(expected, reply)


def turn_round(work: Work, rejected: Rejected) -> Done:
    """Turn the saga round since one of its branches was refused, in that transaction."""
    assert work.group is not None
    branch_stops.reject(
        work.claimed,
        group=work.group,
        name=work.step.name,
        context=work.context,
        failure=rejected.reason,
    )
    return Done(
        cursor=work.saga.last,
        past_return=False,
        state=work.state,
        kept_lease=False,
        at=work.claimed.claimed_at,
        run=RunState.REJECTED,
        rejected=rejected.reason,
    )
