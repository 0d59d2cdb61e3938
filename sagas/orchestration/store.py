"""Every statement that changes a saga row.

Each is one conditional UPDATE; zero rows means that somebody was faster, and the caller rolls
back. They are raw SQL because the guard, the journal row and the barrier row of a step are one
statement, and because a guard should be read where it stands.

See Note [The row is the truth] in ``executor.py``.
"""

import json
import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper
from psycopg.types.json import Jsonb

from sagas import clock
from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.core.keys import Direction, effect_key
from sagas.orchestration.handover import ended
from sagas.orchestration.worker import task_id, worker_name
from sagas.sometimes import sometimes
from sagas.statements import cursor_of
from sagas.transactions import ENGINE, engine_in_reach, is_detached, table


class StaleFencingToken(SagasError):
    """The saga has moved on, or another worker has taken it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A saga that belongs to this worker until its lease runs out."""

    saga_id: UUID
    name: str
    def_version: int
    fingerprint: str
    status: str
    cursor: int
    last_step: int
    token: int
    attempts: int
    past_return: bool
    state: Any
    failure: str | None
    canceled_by: str | None
    deadline_at: datetime
    correlation_id: str
    traceparent: str | None
    waiting_for: str | None
    claimed_at: datetime
    step_deadline_at: datetime | None
    parent_id: UUID | None
    ahead: timedelta  # of the database's clock, that of this machine, when it was claimed


_CLAIMED = tuple(field.name for field in fields(Claim))[:-1]
_CLAIM = """
UPDATE sagas_saga SET fencing_token = fencing_token + 1, attempts = attempts + 1,
    leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
    due_at = clock_timestamp() + make_interval(secs => %(lease)s),
    not_before = NULL, updated_at = clock_timestamp()
WHERE id = %(id)s AND status = %(status)s AND cursor BETWEEN %(low)s AND %(high)s
    AND parked_at IS NULL AND pending = 0
    AND (leased_until IS NULL OR leased_until <= clock_timestamp())
    AND (not_before IS NULL OR not_before <= clock_timestamp())
RETURNING id, name, def_version, fingerprint, status, cursor, last_step, fencing_token, attempts,
    past_return, state, failure, canceled_by, deadline_at, correlation_id, traceparent,
    waiting_for, clock_timestamp(), step_deadline_at, parent_id
"""


def engine_cursor() -> CursorWrapper:
    """Return a cursor on the engine's database.

    :raises EngineElsewhere: inside the transaction of a context with a database of its own
    """
    engine_in_reach()
    return cursor_of(ENGINE)


def claim(saga_id: UUID, *, status: str, low: int, high: int) -> Claim | None:
    """Take a saga whose cursor lies in a link, or return None when it is not to be had.

    Counts the attempt before any work, which may kill its process; a refused copy costs none.
    """
    link: dict[str, Any] = {"id": saga_id, "status": status, "low": low, "high": high}
    with engine_cursor() as cursor:
        cursor.execute(_CLAIM, {**link, "lease": conf.LEASE})
        row = cursor.fetchone()
    return None if row is None else claim_of(row)


def claiming(rows: str) -> str:
    """Return the claiming statement for other rows than the one named by ``id``."""
    return _CLAIM.replace("id = %(id)s", rows)


def claim_of(row: tuple[Any, ...]) -> Claim:
    """Read what a claiming statement returns."""
    values = dict(zip(_CLAIMED, row, strict=True))
    if values["attempts"] > 1:
        sometimes("claim.repeated")
    # Django lets JSON through as text and leaves the reading to its own fields.
    values |= {"state": json.loads(values["state"]), "ahead": clock.ahead_of(values["claimed_at"])}
    return Claim(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """The journal row and the barrier row of one step run."""

    step_no: int
    name: str
    context: str
    direction: Direction
    state: str
    started_at: datetime
    reply: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a commit takes the saga row."""

    status: str
    cursor: int
    past_return: bool
    keep_lease: bool
    state: Any = None
    """The new state, or None to leave it."""
    failure: str | None = None
    failed_step: str | None = None
    new_token: bool = False
    finished: bool = False
    step_deadline_at: datetime | None = None
    """Until when the saga may stand at the step that the cursor moves to."""
    deferred: bool = False
    """The commit does not wait for the disk; see Note [Not every step waits for the disk]."""


# The barrier and journal rows hang on the guarded UPDATE: no saga moved, no row written.
MOVE = """
WITH moved AS (
    UPDATE sagas_saga SET status = %(to_status)s, cursor = %(to_cursor)s,
        past_return = %(past_return)s, state = coalesce(%(saga_state)s, state),
        failure = coalesce(%(failure)s, failure),
        failed_step = coalesce(%(failed_step)s, failed_step),
        fencing_token = fencing_token + %(bump)s, waiting_for = NULL, wait_until = NULL,
        attempts = CASE WHEN %(run_state)s = 'intended' THEN attempts ELSE 0 END, hints = 0,
        step_deadline_at = CASE WHEN %(run_state)s = 'intended' THEN step_deadline_at
            ELSE %(step_deadline)s::timestamptz END,
        leased_until = CASE
            WHEN %(keep)s
                AND leased_until > clock_timestamp() + make_interval(secs => %(lease)s / 2)
                THEN leased_until
            WHEN %(keep)s THEN clock_timestamp() + make_interval(secs => %(lease)s) END,
        due_at = CASE
            WHEN %(keep)s
                AND leased_until > clock_timestamp() + make_interval(secs => %(lease)s / 2)
                THEN due_at
            WHEN NOT %(finished)s THEN clock_timestamp() + make_interval(secs =>
                CASE WHEN %(keep)s THEN %(lease)s ELSE %(grace)s END) END,
        finished_at = CASE WHEN %(finished)s THEN clock_timestamp() END,
        updated_at = clock_timestamp()
    WHERE id = %(id)s AND status = %(status)s AND cursor = %(step_no)s
        AND fencing_token = %(token)s
    RETURNING id, parent_id),
barrier AS (
    INSERT INTO {barrier} AS b (saga_id, step_no, direction, state, reply)
    SELECT id, %(step_no)s, %(direction)s, %(run_state)s, %(reply)s FROM moved
    ON CONFLICT (saga_id, step_no, direction) DO UPDATE
        SET state = excluded.state, reply = excluded.reply WHERE b.state = 'intended'
    RETURNING 1),
journal AS (
    INSERT INTO sagas_steprun AS r (saga_id, step_no, name, context, direction, state, effect_key,
        attempts, reply, worker, task_id, started_at, committed_at, fencing_token)
    SELECT id, %(step_no)s, %(name)s, %(context)s, %(direction)s, %(run_state)s, %(effect_key)s,
        %(attempts)s, %(reply)s, %(worker)s, %(task)s, %(started)s, clock_timestamp(), 0
    FROM moved
    ON CONFLICT (saga_id, step_no, direction) DO UPDATE
        SET state = excluded.state, attempts = excluded.attempts, reply = excluded.reply,
            worker = excluded.worker, task_id = excluded.task_id,
            committed_at = excluded.committed_at
        WHERE r.state = 'intended'
    RETURNING saga_id){also}
SELECT (SELECT count(*) FROM moved), (SELECT count(*) FROM barrier), (SELECT parent_id FROM moved),
    CASE WHEN %(deferred)s THEN set_config('synchronous_commit', 'off', true) END
"""
_ITS_BARRIER = re.compile(r"INSERT INTO \{barrier\}.*?RETURNING 1", re.DOTALL)


def with_barrier(statement: str, context: str) -> str:
    """Return a statement with a context's barrier in it; one that is detached records it before."""
    return _with_barrier(statement, context, is_detached(context))


@cache
def _with_barrier(statement: str, context: str, detached: bool) -> str:  # noqa: FBT001 - a key
    if detached:
        return _ITS_BARRIER.sub("SELECT 1 FROM moved", statement, count=1)
    return statement.replace("{barrier}", table(context, "barrier"))


def move(claimed: Claim, entry: Entry, target: Target, also: str = "", **told: Any) -> None:
    """Commit one step run: guard, cursor, journal row and barrier row in one statement.

    Must be the last statement of the step's transaction, so that the saga row is locked only for
    the commit. An entry that leaves the cursor where it is (an intent) leaves attempts alone.

    :param also: further expressions that hang on ``moved``, which are ``told`` what they name
    :raises StaleFencingToken: if the saga is no longer this worker's, or the barrier is closed
    """
    with engine_cursor() as cursor:
        sql = with_barrier(MOVE.replace("{also}", also), entry.context)
        cursor.execute(sql, {**parameters(claimed, entry, target), **told})
        *changed, parent_id, _ = cursor.fetchone()
    if changed != [1, 1]:
        raise StaleFencingToken
    if target.finished:
        ended(claimed.name, claimed.def_version, claimed.saga_id, parent_id)


def parameters(claimed: Claim, entry: Entry, target: Target) -> dict[str, Any]:
    """Return what ``MOVE`` is told of one step run."""
    return {
        "id": claimed.saga_id,
        "status": claimed.status,
        "token": claimed.token,
        "to_status": target.status,
        "to_cursor": target.cursor,
        "past_return": target.past_return,
        "saga_state": None if target.state is None else Jsonb(target.state),
        "failure": target.failure,
        "failed_step": target.failed_step,
        "bump": int(target.new_token),
        "keep": target.keep_lease,
        "finished": target.finished,
        "step_deadline": target.step_deadline_at,
        "deferred": target.deferred,
        "lease": conf.LEASE,
        "grace": conf.HINT_GRACE,
        "step_no": entry.step_no,
        "name": entry.name,
        "context": entry.context,
        "direction": entry.direction.value,
        "run_state": entry.state,
        "effect_key": effect_key(claimed.saga_id, entry.name, entry.direction),
        "attempts": claimed.attempts,
        "reply": None if entry.reply is None else Jsonb(entry.reply),
        "worker": worker_name(),
        "task": task_id(),
        "started": entry.started_at,
    }


ABANDONED = "abandoned"  # only intended when the compensation came: never to be done, maybe called

# Locks no row but those it changes: a compensation that is frozen must not hold up another one.
_TOMBSTONE = """
WITH closed AS (
    UPDATE {barrier} SET state = 'abandoned'
    WHERE saga_id = %(id)s AND step_no = %(step_no)s AND direction = 'do' AND state = 'intended'
    RETURNING state),
planted AS (
    INSERT INTO {barrier} (saga_id, step_no, direction, state)
    VALUES (%(id)s, %(step_no)s, 'do', 'canceled') ON CONFLICT DO NOTHING RETURNING state)
SELECT (SELECT state FROM planted), coalesce((SELECT state FROM closed), (
    SELECT state FROM {barrier}
    WHERE saga_id = %(id)s AND step_no = %(step_no)s AND direction = 'do'))
"""


def tombstone(saga_id: UUID, step_no: int, context: str) -> str | None:
    """Close the door on a forward run that has not come; return the state of one that has.

    Part of the compensation's transaction. ``None`` means that the step never ran and now never
    may (dtm's barrier: it answers the empty compensation and the late run in one insert). A run
    that has only been intended is closed as well, and says so: its call may have been made.
    """
    sql = _TOMBSTONE.replace("{barrier}", table(context, "barrier"))
    parameters: dict[str, Any] = {"id": saga_id, "step_no": step_no}
    with cursor_of(context) as cursor:
        cursor.execute(sql, parameters)
        planted, state = cursor.fetchone()
        if planted is None and state is None:
            # The row that was in the way is younger than the statement's view of the table.
            cursor.execute(sql, parameters)
            planted, state = cursor.fetchone()
    if planted is not None:
        sometimes("tombstone.planted")
    # A tombstone of an earlier attempt whose commit was lost says the same as a fresh one.
    return None if state in {None, "canceled"} else str(state)
