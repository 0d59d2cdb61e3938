"""How a branch stops and goes on: faults, rejection, parking, and the compensation that takes it.

Like ``branch_rows.py``: the saga's row first, then the branch's.
"""

from typing import Any
from uuid import UUID

from sagas.conf import conf
from sagas.ids import uuid7
from sagas.orchestration.stops import AT_DEADLINE, FAULT, Fault
from sagas.orchestration.store import Claim, StaleFencingToken, engine_cursor, with_barrier
from sagas.orchestration.worker import task_id, worker_name
from sagas.sometimes import sometimes
from sagas.transactions import ENGINE, transaction

_PARK = """
UPDATE sagas_saga AS s SET parked_at = clock_timestamp(), parked_reason = %(parked)s,
    due_at = {at_deadline}, updated_at = clock_timestamp()
WHERE id = %(id)s AND status = 'running' AND parked_at IS NULL
    AND pending > 0 AND cursor <= %(step_no)s
"""

_FAULT = """
WITH stopped AS (
    UPDATE sagas_steprun SET leased_until = NULL, attempts = attempts - %(uncounted)s,
        not_before = statement_timestamp() + make_interval(secs => %(delay)s),
        due_at = statement_timestamp() + make_interval(secs => %(delay)s)
    WHERE saga_id = %(id)s AND step_no = %(step_no)s AND direction = 'do'
        AND state IN ('pending', 'intended') AND fencing_token = %(token)s
    RETURNING saga_id AS id, attempts, not_before),
{fault}
"""


def record_fault(claimed: Claim, fault: Fault, *, delay: float, parked: str | None) -> None:
    """Store a branch's fault with the time of its next attempt, or park the saga with a reason.

    Its siblings go on while it waits; a parked saga lets no branch begin, and those that are
    under way finish.

    :raises StaleFencingToken: if the branch is no longer this worker's
    """
    parameters: dict[str, Any] = {
        "id": claimed.saga_id,
        "step_no": fault.step_no,
        "token": claimed.token,
        "delay": delay,
        "uncounted": int(not fault.counts),
        "parked": parked,
        "fault_id": uuid7(),
        "name": fault.name,
        "direction": "do",
        "kind": fault.kind,
        "error": fault.error,
        "traceback": fault.traceback,
        "worker": worker_name(),
        "task": task_id(),
    }
    with transaction(ENGINE), engine_cursor() as cursor:
        if parked is not None:
            cursor.execute(_PARK.replace("{at_deadline}", AT_DEADLINE), parameters)
        cursor.execute(_FAULT.replace("{fault}", FAULT), parameters)
        if cursor.fetchone() != (1,):
            raise StaleFencingToken
    if parked is not None:
        sometimes("saga.parked")


_LEAVE = """
UPDATE sagas_steprun SET attempts = attempts - 1, leased_until = NULL,
    not_before = statement_timestamp() + make_interval(secs =>
        least(%(grace)s * power(1.7, least(hints, 20)), %(cap)s)),
    due_at = statement_timestamp() + make_interval(secs =>
        least(%(grace)s * power(1.7, least(hints, 20)), %(cap)s))
WHERE saga_id = %(id)s AND step_no = %(step_no)s AND direction = 'do'
    AND state IN ('pending', 'intended') AND fencing_token = %(token)s
"""


def leave(claimed: Claim) -> None:
    """Give a branch back for a worker that knows its saga, as if it had never been claimed."""
    with engine_cursor() as cursor:
        cursor.execute(
            _LEAVE,
            {
                "id": claimed.saga_id,
                "step_no": claimed.cursor,
                "token": claimed.token,
                "grace": conf.HINT_GRACE,
                "cap": conf.HINT_CAP,
            },
        )


_REJECT = """
WITH moved AS (
    UPDATE sagas_saga SET status = 'compensating', cursor = last_step, failure = %(failure)s,
        failed_step = %(name)s, fencing_token = fencing_token + 1, attempts = 0, hints = 0,
        pending = 0, leased_until = NULL, not_before = NULL, parked_at = NULL,
        parked_reason = NULL,
        due_at = clock_timestamp() + make_interval(secs => %(grace)s),
        updated_at = clock_timestamp()
    WHERE id = %(id)s AND status = 'running' AND cursor = %(group)s AND NOT past_return
    RETURNING id),
branch AS (
    UPDATE sagas_steprun AS r SET state = 'rejected', leased_until = NULL, not_before = NULL,
        due_at = NULL, committed_at = clock_timestamp()
    FROM moved WHERE r.saga_id = moved.id AND r.step_no = %(step_no)s AND r.direction = 'do'
        AND r.state IN ('pending', 'intended') AND r.fencing_token = %(token)s
    RETURNING 1),
barrier AS (
    INSERT INTO {barrier} AS b (saga_id, step_no, direction, state)
    SELECT id, %(step_no)s, 'do', 'rejected' FROM moved
    ON CONFLICT (saga_id, step_no, direction) DO UPDATE
        SET state = excluded.state WHERE b.state = 'intended'
    RETURNING 1)
SELECT (SELECT count(*) FROM branch), (SELECT count(*) FROM barrier)
"""


def reject(claimed: Claim, *, group: int, name: str, context: str, failure: str) -> None:
    """Turn the saga round since one of its branches was refused; part of that transaction.

    :raises StaleFencingToken: if the saga left the group, or the branch is another worker's
    """
    parameters: dict[str, Any] = {
        "id": claimed.saga_id,
        "group": group,
        "step_no": claimed.cursor,
        "token": claimed.token,
        "name": name,
        "failure": failure,
        "grace": conf.HINT_GRACE,
    }
    with engine_cursor() as cursor:
        cursor.execute(with_barrier(_REJECT, context), parameters)
        if cursor.fetchone() != (1, 1):
            raise StaleFencingToken


_TAKE = """
WITH saga AS (
    SELECT id FROM sagas_saga WHERE id = %(id)s AND status = 'compensating'
        AND cursor = %(step_no)s AND fencing_token = %(token)s FOR SHARE)
UPDATE sagas_steprun AS r SET fencing_token = r.fencing_token + 1, state = 'canceled',
    leased_until = NULL, not_before = NULL, due_at = NULL, committed_at = clock_timestamp()
FROM saga WHERE r.saga_id = saga.id AND r.step_no = %(step_no)s AND r.direction = 'do'
    AND r.state IN ('pending', 'intended')
"""


def take(claimed: Claim) -> bool:
    """Take a branch from whoever has it, before its compensation reads what there is to undo.

    A commit of its own: it holds the saga's row, and the undo that follows wants business rows,
    which a branch on its way to its commit may hold. Taken, it never goes forward again.
    """
    with engine_cursor() as cursor:
        cursor.execute(
            _TAKE, {"id": claimed.saga_id, "step_no": claimed.cursor, "token": claimed.token}
        )
        return bool(cursor.rowcount == 1)


def close(saga_id: UUID, step_no: int) -> None:
    """Close a branch that a person has undone, if it is open; its saga's row is held."""
    with engine_cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_steprun SET fencing_token = fencing_token + 1, state = 'canceled',"
            " leased_until = NULL, not_before = NULL, due_at = NULL,"
            # Before the row that says it is undone, which this transaction has written.
            " committed_at = transaction_timestamp()"
            " WHERE saga_id = %s AND step_no = %s AND direction = 'do' AND due_at IS NOT NULL",
            [saga_id, step_no],
        )


_RESET = """
UPDATE sagas_steprun SET attempts = 0, hints = 0, leased_until = NULL, not_before = NULL,
    fencing_token = fencing_token + 1,
    due_at = clock_timestamp() + make_interval(secs => %(grace)s)
WHERE saga_id = %(id)s AND direction = 'do' AND due_at IS NOT NULL
"""


def reset(saga_id: UUID) -> None:
    """Let every open branch begin again with a full count of attempts; part of a resume."""
    with engine_cursor() as cursor:
        cursor.execute(_RESET, {"id": saga_id, "grace": conf.HINT_GRACE})


def stop(saga_id: UUID) -> None:
    """Refuse the commits of the branches that are under way; part of an operator's parking."""
    with engine_cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_steprun SET leased_until = NULL, fencing_token = fencing_token + 1"
            " WHERE saga_id = %s AND direction = 'do' AND due_at IS NOT NULL",
            [saga_id],
        )
