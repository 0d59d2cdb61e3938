"""Sagas of the past and of the future: rows that lie beside those that are measured."""

from typing import Any

from django.db import connection

from config.bench.effects import CONTEXT_OF_STEP, CONTEXTS
from config.bench.sagas import BENCH

_COLUMNS = """
    id, name, def_version, key, status, past_return, cursor, last_step, state, fencing_token,
    attempts, hints, pending, deadline_at, correlation_id, due_at, not_before, finished_at
"""
_FINISHED = f"""
WITH stored AS (
    INSERT INTO sagas_saga ({_COLUMNS})
    SELECT gen_random_uuid(), %(name)s, %(version)s, 'finished-' || n, 'completed', false, 4, 3,
        '{{"orm": false, "rejected": false}}', 1, 0, 0, 0, now() + interval '1 day',
        md5(n::text), NULL, NULL, now() - n * interval '1 second'
    FROM generate_series(1, %(count)s) AS n RETURNING id)
INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state, effect_key, attempts,
    worker, task_id, fencing_token)
SELECT id, step, 'step_' || step, (%(contexts)s::text[])[step + 1], 'do', 'done',
    id || ':step_' || step || ':do', 1, '', '', 0
FROM stored, generate_series(0, 3) AS step
"""  # noqa: S608 - constants of this module
# Each sleeps for an hour or more, as after a fault or in front of a wait.
_SLEEPING = f"""
INSERT INTO sagas_saga ({_COLUMNS})
SELECT gen_random_uuid(), %(name)s, %(version)s, 'sleeping-' || n, 'running', false, 2, 3,
    '{{"orm": false, "rejected": false}}', 1, 0, 0, 0, now() + interval '1 week', md5(n::text),
    now() + interval '1 hour' + n * interval '1 second',
    now() + interval '1 hour' + n * interval '1 second', NULL
FROM generate_series(1, %(count)s) AS n
"""  # noqa: S608 - constants of this module


def store(count: int) -> None:
    """Store as many finished sagas, with journal and barriers, and as many that sleep."""
    told: dict[str, Any] = {
        "name": BENCH.name,
        "version": BENCH.version,
        "count": count,
        "contexts": list(CONTEXT_OF_STEP),
    }
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(_FINISHED, told)
        for context in CONTEXTS:
            cursor.execute(
                f"INSERT INTO {context}_barrier (saga_id, step_no, direction, state)"  # noqa: S608 - a constant
                " SELECT saga_id, step_no, direction, state FROM sagas_steprun WHERE context = %s",
                [context],
            )
        cursor.execute(_SLEEPING, told)
        cursor.execute("RESET statement_timeout")
        cursor.execute("VACUUM ANALYZE")


def counted() -> tuple[int, int]:
    """Return how many finished and how many sleeping sagas are stored."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL),"
            " count(*) FILTER (WHERE not_before > now()) FROM sagas_saga"
        )
        finished, sleeping = cursor.fetchone()
    return int(finished), int(sleeping)
