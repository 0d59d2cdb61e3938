"""An operator's skip: the step that a parked saga stands at is settled by hand.

Forward it means "go on without it", on the way back "a person has undone it". Nothing is lost by
a skip of a remote step whose call may have been made: its barrier says ``abandoned``, and a
compensation undoes it all the same.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from sagas.conf import conf
from sagas.core.definition import Saga, Step
from sagas.core.keys import Direction, effect_key
from sagas.failpoints import failpoint
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import RunState, StepRun
from sagas.orchestration import branch_stops, group, versions
from sagas.orchestration.handover import ended, is_lock
from sagas.orchestration.limits import within_of
from sagas.orchestration.seen import Seen, changed
from sagas.orchestration.store import ABANDONED, StaleFencingToken, engine_cursor, tombstone
from sagas.orchestration.worker import worker_name
from sagas.statements import cursor_of
from sagas.transactions import ENGINE, is_detached, outside, table, transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """What an operator's skip would settle."""

    row: SagaInstance
    saga: Saga[Any]
    number: int
    direction: Direction

    @property
    def step(self) -> Step[Any]:
        """Return the step's definition."""
        return self.saga.steps[self.number]

    @property
    def context(self) -> str:
        """Return the context that carries the step out: the engine, where it only waits."""
        context = self.saga.contexts[self.number]
        waits = self.step.awaits is not None and self.step.undo is None
        return ENGINE if waits and is_detached(context) else context

    @property
    def is_branch(self) -> bool:
        """Return whether it is one branch of the group that the saga is in."""
        return self.direction is Direction.DO and self.step.group is not None


def find(saga_id: UUID, step: str | None, seen: Seen | None = None) -> Skip | None:
    """Return what there is to skip, or None where a skip is refused.

    Refused are a saga that is not parked and, forward, every step whose definition does not say
    that it may be missed: what comes later relies on it. In a group the branch has to be named
    where more than one is left. On the way back a step whose child lives is refused: nobody can
    have undone what the child has still to do.

    :param seen: what the operator saw; what is not so any more is refused. The row that is compared
        is the one whose status, cursor and token the change asks for.
    """
    row = _parked(saga_id, seen)
    saga = versions.found(row) if row is not None else None
    if row is None or saga is None:
        return None
    if step is not None and all(step != known.name for known in saga.steps):
        return None
    if is_lock(row.waiting_for):
        return None  # past a step it would go on without its lock
    direction = Direction.DO if row.status == Status.RUNNING else Direction.UNDO
    number = _number(row, saga, step, direction)
    if number is None or (step is not None and saga.steps[number].name != step):
        return None
    if direction is Direction.UNDO and has_living_child(row):
        return None
    found = Skip(row=row, saga=saga, number=number, direction=direction)
    return found if direction is Direction.UNDO or found.step.skippable else None


def _parked(saga_id: UUID, seen: Seen | None) -> SagaInstance | None:
    row = SagaInstance.objects.filter(id=saga_id, parked_at__isnull=False).first()
    return row if row is None or seen is None or changed(seen, row) is None else None


def has_living_child(row: SagaInstance) -> bool:
    """Return whether the step that a saga stands at has a child that has not ended."""
    children = SagaInstance.objects.filter(parent_id=row.id, parent_step=row.cursor)
    return children.filter(finished_at=None).exists()


def _number(
    row: SagaInstance, saga: Saga[Any], step: str | None, direction: Direction
) -> int | None:
    if direction is Direction.UNDO or not saga.branches(row.cursor):
        return row.cursor
    left = StepRun.objects.filter(saga_id=row.id, direction="do", due_at__isnull=False)
    found = list((left if step is None else left.filter(name=step)).values_list("step_no"))
    return int(found[0][0]) if len(found) == 1 else None


# The guard is that of a worker's commit and the parking: of two who press, one finds it.
_SKIP = """
WITH moved AS (
    UPDATE sagas_saga SET status = %(to_status)s, cursor = %(to_cursor)s,
        past_return = %(past_return)s, pending = pending - %(branches)s, parked_at = NULL,
        parked_reason = NULL, fencing_token = fencing_token + 1, attempts = 0, hints = 0,
        leased_until = NULL, not_before = NULL, waiting_for = NULL, wait_until = NULL,
        step_deadline_at = CASE WHEN %(within)s::interval IS NOT NULL
            THEN sagas.now() + %(within)s::interval END,
        due_at = CASE WHEN NOT %(finished)s
            THEN clock_timestamp() + make_interval(secs => %(grace)s) END,
        finished_at = CASE WHEN %(finished)s THEN clock_timestamp() END,
        updated_at = clock_timestamp()
    WHERE id = %(id)s AND status = %(status)s AND cursor = %(cursor)s
        AND fencing_token = %(token)s AND parked_at IS NOT NULL
    RETURNING id, pending),
journal AS (
    INSERT INTO sagas_steprun AS r (saga_id, step_no, name, context, direction, state, effect_key,
        attempts, reply, worker, task_id, started_at, committed_at, fencing_token)
    SELECT id, %(step_no)s, %(name)s, %(context)s, %(direction)s, 'skipped', %(effect_key)s,
        %(attempts)s, %(reply)s, %(worker)s, '', clock_timestamp(), clock_timestamp(), 0
    FROM moved
    ON CONFLICT (saga_id, step_no, direction) DO UPDATE
        SET state = excluded.state, reply = excluded.reply, worker = excluded.worker,
            committed_at = excluded.committed_at, leased_until = NULL, not_before = NULL,
            due_at = NULL, fencing_token = r.fencing_token + 1
        WHERE r.state IN ('pending', 'intended')
    RETURNING 1)
SELECT (SELECT pending FROM moved), (SELECT count(*) FROM moved), (SELECT count(*) FROM journal)
"""


# Whoever is about to call is refused when it comes back, and what it has called is undone later.
# The reply tells a door that a person closed, which one may pass, from that of a compensation.
_CLOSE = """
INSERT INTO {barrier} AS b (saga_id, step_no, direction, state, reply)
VALUES (%(id)s, %(step_no)s, %(direction)s, 'skipped', %(reply)s)
ON CONFLICT (saga_id, step_no, direction) DO UPDATE
    SET state = CASE WHEN b.direction = 'do' THEN 'abandoned' ELSE 'skipped' END,
        reply = excluded.reply
    WHERE b.state = 'intended'
"""
_STATE = """
SELECT state FROM {barrier}
WHERE saga_id = %(id)s AND step_no = %(step_no)s AND direction = %(direction)s
"""


def settle(skip: Skip, *, by: str, reason: str) -> bool:
    """Move the saga past the step and close its barrier; False when somebody was faster.

    Colocated this is one transaction, and locks in the order of an undo: the forward barrier, the
    saga's row, the barrier of the way back. A detached context's part is committed while the
    saga's row is held, so that nobody lets the saga go on in between. If the process dies right
    after it, the saga is still parked and whoever goes on with it passes the step over.

    :raises StaleFencingToken: if the step is done after all; nothing was written
    """
    if is_detached(skip.context):
        moved = carry_out(skip, by=by, reason=reason)
        if moved:
            outside(lambda: _close_elsewhere(skip, by=by, reason=reason))
        return moved
    close_the_way_forward(skip)
    if not carry_out(skip, by=by, reason=reason):
        raise StaleFencingToken
    close(skip, by=by, reason=reason)
    return True


def _close_elsewhere(skip: Skip, *, by: str, reason: str) -> None:
    with transaction(skip.context):
        close_the_way_forward(skip)
        close(skip, by=by, reason=reason)
        failpoint("act.before_commit", "skip")


def close_the_way_forward(skip: Skip) -> None:
    """See to it that what a person has undone is not done by a worker that is late."""
    if skip.direction is Direction.UNDO:
        tombstone(skip.row.id, skip.number, skip.context)


def close(skip: Skip, *, by: str, reason: str) -> None:
    """Write into the barrier that the step is settled, in a transaction of its context.

    :raises StaleFencingToken: if something else is recorded there
    """
    parameters: dict[str, Any] = {
        "id": skip.row.id,
        "step_no": skip.number,
        "direction": skip.direction.value,
        "reply": Jsonb(_told(by, reason)),
    }
    barrier = table(skip.context, "barrier")
    with cursor_of(skip.context) as cursor:
        cursor.execute(_CLOSE.replace("{barrier}", barrier), parameters)
        if cursor.rowcount == 1:
            return
        # The statement has locked what is in its way.
        cursor.execute(_STATE.replace("{barrier}", barrier), parameters)
        if cursor.fetchone() not in {(RunState.SKIPPED,), (ABANDONED,)}:
            raise StaleFencingToken


def _told(by: str, reason: str) -> dict[str, str]:
    return {"skipped_by": by, "reason": reason}


def carry_out(skip: Skip, *, by: str, reason: str) -> bool:
    """Move the saga past the step; False when somebody was faster.

    Also lets the saga go on, as a resume does.

    :raises StaleFencingToken: if the step is done after all
    :raises CannotKeep: if it is the last of its group, whose replies cannot be kept
    """
    parameters = _parameters(skip, by=by, reason=reason)
    with engine_cursor() as engine:
        engine.execute(_SKIP, parameters)
        pending, moved, written = engine.fetchone()
    if moved and not written:
        raise StaleFencingToken
    if moved and parameters["finished"]:
        ended(skip.saga.name, skip.saga.version, skip.row.id, skip.row.parent_id)
    if moved and skip.is_branch:
        _after_branch(skip, pending=pending)
    elif moved and skip.direction is Direction.UNDO:
        branch_stops.close(skip.row.id, skip.number)
    elif moved:
        group.open_group(skip.saga, skip.row.id, parameters["to_cursor"])
    return bool(moved)


def _after_branch(skip: Skip, *, pending: int) -> None:
    branch_stops.reset(skip.row.id)
    if pending == 0:
        state = group.state_of(skip.saga, skip.row)
        group.join(skip.saga, skip.row.id, skip.row.cursor, state, past=skip.row.past_return)


def _parameters(skip: Skip, *, by: str, reason: str) -> dict[str, Any]:
    row, forward = skip.row, skip.direction is Direction.DO
    # A branch leaves the cursor to whoever is the last of its group.
    cursor = row.cursor if skip.is_branch else skip.number + (1 if forward else -1)
    finished = not 0 <= cursor <= skip.saga.last
    ended = Status.COMPLETED if forward else Status.COMPENSATED
    return {
        "id": row.id,
        "status": row.status,
        "cursor": row.cursor,
        "token": row.fencing_token,
        "to_status": ended if finished else row.status,
        "to_cursor": cursor,
        "past_return": forward and (row.past_return or cursor >= skip.saga.first_retriable),
        "within": within_of(skip.saga, cursor) if forward and not skip.is_branch else None,
        "branches": int(skip.is_branch),
        "finished": finished,
        "grace": conf.HINT_GRACE,
        "step_no": skip.number,
        "name": skip.step.name,
        "context": skip.context,
        "direction": skip.direction.value,
        "effect_key": effect_key(row.id, skip.step.name, skip.direction),
        "attempts": row.attempts,
        "reply": Jsonb(_told(by, reason)),
        "worker": worker_name(),
    }
