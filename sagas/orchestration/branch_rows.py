"""Every statement that changes the row of a branch, the unit of claim inside a group.

A branch has a lease, a token and attempts of its own, so two of them run at once without waiting
for each other. Only their commits meet, at the saga's row, which counts what is left. Whoever
needs both rows takes the saga's first and the branch's after it, or two of them would wait for
each other for ever.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from sagas.conf import conf
from sagas.core.keys import Direction, effect_key
from sagas.orchestration.store import (
    Claim,
    Entry,
    StaleFencingToken,
    claim_of,
    engine_cursor,
    with_barrier,
)
from sagas.orchestration.worker import task_id, worker_name

_OPEN = """
WITH opened AS (
    UPDATE sagas_saga SET pending = cardinality(%(numbers)s::smallint[]),
        updated_at = clock_timestamp()
    WHERE id = %(id)s AND status = 'running' AND cursor = %(group)s AND pending = 0
    RETURNING id)
INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state, effect_key,
    attempts, worker, task_id, committed_at, fencing_token, hints, due_at)
SELECT opened.id, b.step_no, b.name, b.context, 'do', 'pending', b.effect_key,
    0, '', '', clock_timestamp(), 0, 0, clock_timestamp() + make_interval(secs => %(grace)s)
FROM opened, unnest(%(numbers)s::smallint[], %(names)s::text[], %(contexts)s::text[],
    %(keys)s::text[]) AS b (step_no, name, context, effect_key)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewBranch:
    """What is known of a branch when its group begins."""

    step_no: int
    name: str
    context: str


def open_group(saga_id: UUID, group: int, branches: Sequence[NewBranch]) -> None:
    """Write the rows of a group's branches, in the transaction that moves the cursor to it.

    :raises StaleFencingToken: if the saga does not stand there
    """
    with engine_cursor() as cursor:
        cursor.execute(
            _OPEN,
            {
                "id": saga_id,
                "group": group,
                "numbers": [branch.step_no for branch in branches],
                "names": [branch.name for branch in branches],
                "contexts": [branch.context for branch in branches],
                "keys": [effect_key(saga_id, branch.name, Direction.DO) for branch in branches],
                "grace": conf.HINT_GRACE,
            },
        )
        if cursor.rowcount != len(branches):
            raise StaleFencingToken


# Whoever has to wait for the row is asked again of ``r`` alone; the saga is still as it was read
# before. A parking has raised the token by then, so that no branch begins in a saga that is parked.
_CLAIM = """
WITH seen AS MATERIALIZED (
    SELECT fencing_token FROM sagas_steprun
    WHERE saga_id = %(id)s AND step_no = %(step_no)s AND direction = 'do')
UPDATE sagas_steprun AS r SET fencing_token = r.fencing_token + 1, attempts = r.attempts + 1,
    leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
    due_at = clock_timestamp() + make_interval(secs => %(lease)s),
    not_before = NULL, worker = %(worker)s, task_id = %(task)s,
    started_at = coalesce(r.started_at, clock_timestamp())
FROM seen, sagas_saga AS s
WHERE r.saga_id = %(id)s AND r.step_no = %(step_no)s AND r.direction = 'do'
    AND r.fencing_token = seen.fencing_token
    AND r.state IN ('pending', 'intended')
    AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp())
    AND (r.not_before IS NULL OR r.not_before <= clock_timestamp())
    AND s.id = r.saga_id AND s.status = 'running' AND s.parked_at IS NULL
    AND s.pending > 0 AND s.cursor <= r.step_no
RETURNING s.id, s.name, s.def_version, s.fingerprint, s.status, r.step_no, s.last_step,
    r.fencing_token, r.attempts, s.past_return, s.state, s.failure, s.canceled_by, s.deadline_at,
    s.correlation_id, s.traceparent, s.waiting_for, clock_timestamp(), s.step_deadline_at,
    s.parent_id
"""


def claim(saga_id: UUID, step_no: int) -> Claim | None:
    """Take a branch, or return None when it is not to be had; its token is the branch's own.

    The saga's row is read and not locked: what it says may have changed by the time of the
    commit, which asks again.
    """
    with engine_cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "id": saga_id,
                "step_no": step_no,
                "lease": conf.LEASE,
                "worker": worker_name(),
                "task": task_id(),
            },
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return claim_of(row)


# The saga's row is held until the commit: a compensation that begins meanwhile waits, and finds
# in the branch what is about to be called; one that began before refuses the intent.
_INTEND = """
WITH moved AS (
    SELECT id FROM sagas_saga
    WHERE id = %(id)s AND status = 'running' AND cursor = %(group)s FOR SHARE),
branch AS (
    UPDATE sagas_steprun AS r SET state = 'intended',
        leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
        due_at = clock_timestamp() + make_interval(secs => %(lease)s),
        committed_at = clock_timestamp()
    FROM moved WHERE r.saga_id = moved.id AND r.step_no = %(step_no)s AND r.direction = 'do'
        AND r.state IN ('pending', 'intended') AND r.fencing_token = %(token)s
    RETURNING 1),
barrier AS (
    INSERT INTO {barrier} AS b (saga_id, step_no, direction, state)
    SELECT id, %(step_no)s, 'do', 'intended' FROM moved
    ON CONFLICT (saga_id, step_no, direction) DO UPDATE
        SET state = excluded.state WHERE b.state = 'intended'
    RETURNING 1)
SELECT (SELECT count(*) FROM branch), (SELECT count(*) FROM barrier)
"""


def intend(claimed: Claim, group: int, context: str) -> None:
    """Note that the branch is about to call, as the last statement of the intent's transaction.

    :raises StaleFencingToken: if the saga left the group, or the branch is another worker's
    """
    parameters = {**_of(claimed, group), "lease": conf.LEASE}
    with engine_cursor() as cursor:
        cursor.execute(with_barrier(_INTEND, context), parameters)
        if cursor.fetchone() != (1, 1):
            raise StaleFencingToken


# The branch's UPDATE reads the saga's, so the saga's row is locked first.
_COMMIT = """
WITH moved AS (
    UPDATE sagas_saga SET pending = pending - 1, updated_at = clock_timestamp()
    WHERE id = %(id)s AND status = 'running' AND cursor = %(group)s
    RETURNING id, pending),
branch AS (
    UPDATE sagas_steprun AS r SET state = %(run_state)s, reply = %(reply)s,
        leased_until = NULL, not_before = NULL, due_at = NULL,
        committed_at = clock_timestamp()
    FROM moved WHERE r.saga_id = moved.id AND r.step_no = %(step_no)s AND r.direction = 'do'
        AND r.state IN ('pending', 'intended') AND r.fencing_token = %(token)s
    RETURNING 1),
barrier AS (
    INSERT INTO {barrier} AS b (saga_id, step_no, direction, state, reply)
    SELECT id, %(step_no)s, 'do', %(run_state)s, %(reply)s FROM moved
    ON CONFLICT (saga_id, step_no, direction) DO UPDATE
        SET state = excluded.state, reply = excluded.reply WHERE b.state = 'intended'
    RETURNING 1)
SELECT (SELECT count(*) FROM branch), (SELECT count(*) FROM barrier), (SELECT pending FROM moved)
"""


def commit(claimed: Claim, entry: Entry, group: int) -> int:
    """Commit one branch and return how many of its group are left.

    The last statement of the branch's transaction, like ``store.move``.

    :raises StaleFencingToken: if the saga left the group, the branch is another worker's or done,
        or the barrier is closed
    """
    parameters: dict[str, Any] = {
        **_of(claimed, group),
        "run_state": entry.state,
        "reply": None if entry.reply is None else Jsonb(entry.reply),
    }
    with engine_cursor() as cursor:
        cursor.execute(with_barrier(_COMMIT, entry.context), parameters)
        branch, barrier, pending = cursor.fetchone()
    if (branch, barrier) != (1, 1):
        raise StaleFencingToken
    return int(pending)


def replies(saga_id: UUID, numbers: range) -> dict[int, tuple[str, Any]]:
    """Return state and reply of each branch of a group that is done.

    A statement of its own after the saga's row is locked: one that saw the table before could
    miss the sibling that committed in between.
    """
    with engine_cursor() as cursor:
        cursor.execute(
            "SELECT step_no, state, reply FROM sagas_steprun WHERE saga_id = %s"
            " AND direction = 'do' AND step_no BETWEEN %s AND %s",
            [saga_id, numbers[0], numbers[-1]],
        )
        return {
            number: (state, None if reply is None else json.loads(reply))
            for number, state, reply in cursor.fetchall()
        }


_JOIN = """
UPDATE sagas_saga SET status = %(to_status)s, cursor = %(to_cursor)s,
    past_return = %(past_return)s, state = coalesce(%(saga_state)s, state), attempts = 0,
    hints = 0, leased_until = NULL, not_before = NULL,
    step_deadline_at = CASE WHEN %(within)s::interval IS NOT NULL
        THEN sagas.now() + %(within)s::interval END,
    due_at = CASE WHEN %(finished)s THEN NULL WHEN parked_at IS NOT NULL THEN due_at
        ELSE clock_timestamp() + make_interval(secs => %(grace)s) END,
    parked_at = CASE WHEN %(finished)s THEN NULL ELSE parked_at END,
    parked_reason = CASE WHEN %(finished)s THEN NULL ELSE parked_reason END,
    finished_at = CASE WHEN %(finished)s THEN clock_timestamp() END,
    updated_at = clock_timestamp()
WHERE id = %(id)s AND status = 'running' AND cursor = %(group)s AND pending = 0
RETURNING parent_id
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """Where the last branch takes the saga."""

    status: str
    cursor: int
    past_return: bool
    finished: bool
    within: timedelta | None
    """How long it may stand at the step there."""
    state: Any = None
    """The new state, or None to leave it."""


def join(saga_id: UUID, group: int, target: Joined) -> UUID | None:
    """Move the saga past its group, in the transaction of the branch that was the last.

    Returns the saga's parent, if it has one.

    :raises StaleFencingToken: if the saga left the group
    """
    parameters: dict[str, Any] = {
        "id": saga_id,
        "group": group,
        "to_status": target.status,
        "to_cursor": target.cursor,
        "past_return": target.past_return,
        "saga_state": None if target.state is None else Jsonb(target.state),
        "finished": target.finished,
        "within": target.within,
        "grace": conf.HINT_GRACE,
    }
    with engine_cursor() as cursor:
        cursor.execute(_JOIN, parameters)
        row = cursor.fetchone()
    if row is None:
        raise StaleFencingToken
    parent_id: UUID | None = row[0]
    return parent_id


def _of(claimed: Claim, group: int) -> dict[str, Any]:
    return {
        "id": claimed.saga_id,
        "group": group,
        "step_no": claimed.cursor,
        "token": claimed.token,
    }
