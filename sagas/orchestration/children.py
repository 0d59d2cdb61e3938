"""Child sagas: started once by a step, awaited, and undone or called back with it.

The child's row is written in the commit that lets the parent sleep, and names the parent. The
commit that ends the child, whichever it is, writes a signal for the parent and wakes it (a trigger
on the saga's table, so that no commit can forget it). Between the two there is nothing to lose.

Locks: who ends a child takes the child's row and then the parent's. So a parent never takes the
row of its child while it holds its own.
"""

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sagas.core import codec
from sagas.core.commands import Rejected
from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.core.waits import ChildAwaited
from sagas.models.saga import Status
from sagas.orchestration import orchestrator, registry, signals
from sagas.orchestration.compensation import close_the_door, undo_step
from sagas.orchestration.signals import Kept
from sagas.orchestration.starting import key_of_a_child
from sagas.orchestration.steps import StepRejected, move_on, turn_round
from sagas.orchestration.store import engine_cursor
from sagas.orchestration.waits import fall_asleep, lock
from sagas.orchestration.work import Done, Waiting, Work, write_intent
from sagas.sometimes import sometimes
from sagas.transactions import ENGINE, engine_transaction, transaction

CALLED_BACK = "parent_compensates"
"""Why a child compensates whose parent turned round."""


class ChildTaken(SagasError):
    """The key of a child belongs to a saga that this step has not started."""


class LockedByItsParent(SagasError):
    """A child wants an aggregate for itself that a saga above it has: both would sleep for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """What a parent knows of its child."""

    id: UUID
    status: str
    state: Any
    is_kept: bool
    """Whether the parent's step has gone on with its end."""


_FIND = """
SELECT c.id, c.status, c.state, s.consumed_at IS NOT NULL FROM sagas_saga c
LEFT JOIN sagas_signal s ON s.saga_id = c.parent_id AND s.key = c.id::text
    AND s.name = 'child:' || c.parent_step
WHERE c.parent_id = %s AND c.parent_step = %s
"""


def find(work: Work) -> Child | None:
    """Return the child that this step has started, if it has."""
    with engine_cursor() as cursor:
        cursor.execute(_FIND, [work.claimed.saga_id, work.number])
        row = cursor.fetchone()
    if row is None:
        return None
    return Child(id=row[0], status=row[1], state=json.loads(row[2]), is_kept=row[3])


def wait_for_child(work: Work, awaits: ChildAwaited) -> Done:
    """Go on with the end of the child; start it and sleep until it has ended.

    :raises Waiting: if the saga sleeps now
    :raises StepRejected: if the child was compensated, and so this saga compensates
    :raises ChildTaken: if somebody else has started a saga under the child's key
    :raises LockedByItsParent: if the child would wait for the lock of this saga, or of one above
    """
    stopped: SagasError = Waiting()
    with engine_transaction(work.context):
        lock(work)
        told = signals.oldest(work.claimed.saga_id, f"child:{work.number}")
        if told is not None:
            signals.consume(told, work.number)
            if told.payload["status"] == Status.COMPLETED:
                return _go_on_with(work, awaits, told)
            stopped = StepRejected(str(told.payload["failure"]))
            turn_round(work, Rejected(stopped.args[0]))
        else:
            if find(work) is None:
                _start(work, awaits)
            write_intent(work, Direction.DO)
            fall_asleep(work, None)
    raise stopped


def _go_on_with(work: Work, awaits: ChildAwaited, told: Kept) -> Done:
    state = _fold(work, awaits, told.payload["state"])
    return move_on(work, state, {"child": told.key, "state": told.payload["state"]})


def _fold(work: Work, awaits: ChildAwaited, child_state: Any) -> Any:
    keep = work.step.keep
    if keep is None:
        return work.state
    return keep(work.state, codec.decode(awaits.of.state, child_state))


def _start(work: Work, awaits: ChildAwaited) -> None:
    saga = registry.get(awaits.of.name, awaits.of.version)
    key = key_of_a_child(awaits.key(work.state))
    begun = orchestrator.begin(
        saga,
        orchestrator.new_saga(
            saga,
            awaits.start(work.state),
            key=key,
            context=work.context,
            parent=(work.claimed.saga_id, work.number),
        ),
    )
    if not begun.is_new:
        raise ChildTaken(f"{saga.name} {key} was started by somebody else")
    if begun.is_asleep:
        _refuse_to_wait_for_a_parent(saga.name, begun.saga_id)


# The holder ends only after its child, so whoever waits for it from below waits for itself.
_HELD_ABOVE = """
WITH RECURSIVE above (id, name, key, parent_id) AS (
    SELECT p.id, p.name, p.key, p.parent_id FROM sagas_saga c JOIN sagas_saga p
        ON p.id = c.parent_id WHERE c.id = %(child)s
    UNION ALL
    SELECT p.id, p.name, p.key, p.parent_id FROM above JOIN sagas_saga p ON p.id = above.parent_id)
SELECT above.name, above.key, l.target_type, l.target_id
FROM above JOIN sagas_lock l ON l.saga_id = above.id
WHERE 'lock:' || l.target_type || '/' || l.target_id
    = (SELECT waiting_for FROM sagas_saga WHERE id = %(child)s)
"""


def _refuse_to_wait_for_a_parent(name: str, child_id: UUID) -> None:
    with engine_cursor() as cursor:
        cursor.execute(_HELD_ABOVE, {"child": child_id})
        held = cursor.fetchone()
    if held is not None:
        parent, key, kind, target_id = held
        raise LockedByItsParent(
            f"{name} would wait for {kind} {target_id}, which saga {parent} {key} above it has"
            f" until its own end: give {name} a version without that lock, and the parent one"
            " whose child it is"
        )


def undo_child(work: Work, awaits: ChildAwaited) -> Done:
    """Undo what a completed child has done; call a running one back, and wait for its end.

    :raises Waiting: if the child has not ended
    """
    child = find(work)
    if child is not None and child.status not in {Status.COMPLETED, Status.COMPENSATED}:
        _call_back(work, child)
        child = find(work)
    if child is None or child.status == Status.COMPENSATED:
        return close_the_door(work)
    # A child that completed while nobody looked has a result that was never kept.
    state = work.state if child.is_kept else _fold(work, awaits, child.state)
    return replace(undo_step(replace(work, state=state)), state=work.state)


def _call_back(work: Work, child: Child) -> None:
    with transaction(ENGINE):
        orchestrator.ask_to_cancel(child.id, reason=CALLED_BACK, by=work.saga.name)
    with engine_transaction(work.context):
        lock(work)
        again = find(work)
        if again is not None and again.status in {Status.COMPLETED, Status.COMPENSATED}:
            return
        sometimes("child.called_back")
        fall_asleep(work, None)
    raise Waiting
