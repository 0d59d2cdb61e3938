"""The row of a new saga, with the journal and barrier rows of a first step that is done already."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from sagas.conf import conf
from sagas.core.keys import Direction, effect_key
from sagas.orchestration.store import engine_cursor
from sagas.orchestration.worker import worker_name
from sagas.transactions import is_detached, table


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSaga:
    """What is known of a saga when it starts; also what a detached context asks for."""

    saga_id: UUID
    name: str
    def_version: int
    fingerprint: str
    key: str
    subject_id: UUID | None
    cursor: int
    last_step: int
    begun_step: str | None
    context: str
    past_return: bool
    state: Any
    deadline_at: datetime
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    parent_id: UUID | None = None
    parent_step: int | None = None
    run: int = 1
    """Which one it is of those that were started one after the other under one key."""


_INSERT = """
WITH saga AS (
    INSERT INTO sagas_saga (id, name, def_version, fingerprint, key, subject_id, status,
        past_return, cursor, last_step, state, deadline_at, correlation_id, causation_id,
        traceparent, parent_id, parent_step, waiting_for, not_before, due_at, fencing_token,
        attempts, hints, pending, step_deadline_at, run)
    VALUES (%(id)s, %(name)s, %(version)s, %(fingerprint)s, %(key)s, %(subject)s, 'running',
        %(past)s, %(cursor)s, %(last)s, %(state)s, %(deadline)s, %(correlation)s, %(causation)s,
        %(trace)s, %(parent)s, %(parent_step)s, %(waiting)s,
        CASE WHEN %(waiting)s::text IS NOT NULL
            THEN clock_timestamp() + make_interval(secs => %(due)s) END,
        clock_timestamp() + make_interval(secs => %(due)s), 0, 0, 0, 0,
        CASE WHEN %(within)s::interval IS NOT NULL
            THEN sagas.now() + %(within)s::interval END,
        %(run)s)
    ON CONFLICT DO NOTHING RETURNING id),
barrier AS (
    INSERT INTO {barrier} (saga_id, step_no, direction, state)
    SELECT id, 0, 'do', 'done' FROM saga WHERE %(begun)s::text IS NOT NULL),
journal AS (
    INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state, effect_key,
        attempts, worker, task_id, started_at, fencing_token)
    SELECT id, 0, %(begun)s, %(context)s, 'do', 'done', %(effect_key)s, 1, %(worker)s, '',
        transaction_timestamp(), 0
    FROM saga WHERE %(begun)s::text IS NOT NULL)
SELECT id FROM saga
"""
_ITS_BARRIER = re.compile(r"INSERT INTO \{barrier\}.*?(?=\),\njournal)", re.DOTALL)


def insert(
    new: NewSaga,
    *,
    waiting_for: str | None = None,
    asleep: float = 0.0,
    within: timedelta | None = None,
) -> UUID | None:
    """Write the row of a new saga, or return None when its business key, or its id, is taken.

    :param waiting_for: what it sleeps for from its start
    :param asleep: seconds after which it is looked at although nothing has rung
    :param within: how long it may stand at its first step
    """
    parameters = _parameters(new)
    parameters |= {
        "waiting": waiting_for,
        "within": within,
        "due": conf.HINT_GRACE if waiting_for is None else asleep,
    }
    sql = _INSERT.replace("{barrier}", table(new.context, "barrier"))
    if is_detached(new.context):  # it has recorded its first step itself
        sql = _ITS_BARRIER.sub("SELECT 1 FROM saga", _INSERT, count=1)
    with engine_cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return None if row is None else row[0]


def _parameters(new: NewSaga) -> dict[str, Any]:
    return {
        "id": new.saga_id,
        "name": new.name,
        "version": new.def_version,
        "fingerprint": new.fingerprint,
        "key": new.key,
        "subject": new.subject_id,
        "past": new.past_return,
        "cursor": new.cursor,
        "last": new.last_step,
        "state": Jsonb(new.state),
        "deadline": new.deadline_at,
        "correlation": new.correlation_id,
        "causation": new.causation_id,
        "trace": new.traceparent,
        "parent": new.parent_id,
        "parent_step": new.parent_step,
        "run": new.run,
        "begun": new.begun_step,
        "context": new.context,
        "effect_key": effect_key(new.saga_id, new.begun_step or "", Direction.DO),
        "worker": worker_name(),
    }


def by_key(name: str, key: str) -> UUID | None:
    """Return the saga that was started under a business key, if one was."""
    with engine_cursor() as cursor:
        cursor.execute("SELECT id FROM sagas_saga WHERE name = %s AND key = %s", [name, key])
        row = cursor.fetchone()
    return None if row is None else row[0]
