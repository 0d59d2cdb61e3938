"""How a saga stops and goes on: faults, parking, and compensation from outside.

Like ``store.py``, every change is one conditional statement.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from sagas.conf import conf
from sagas.ids import uuid7
from sagas.orchestration.store import Claim, StaleFencingToken, engine_cursor
from sagas.orchestration.worker import task_id, worker_name
from sagas.sometimes import sometimes


class Cancellation(Enum):
    """How a request to cancel was answered."""

    ACCEPTED = "accepted"
    """Compensation has begun."""
    TOO_LATE = "too_late"
    """The point of no return is past."""
    FINISHED = "finished"
    """The saga has ended, or is compensating already."""
    ASKED = "asked"
    """The engine is asked as soon as the caller's transaction commits, in another database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One attempt that went wrong."""

    step_no: int
    name: str
    direction: str
    kind: str
    error: str
    traceback: str
    counts: bool = True
    """False for one that the saga could do nothing about: its attempt is given back."""


# A saga that waits for its lock has done nothing yet, whatever its first step will be; but a child
# has to succeed whose parent can only go forward. Until the child ends, its parent stands there.
MAY_TURN = """(NOT s.past_return OR s.waiting_for ^@ 'lock:' AND NOT EXISTS (
    SELECT FROM sagas_saga p WHERE p.id = s.parent_id AND p.past_return))"""
"""Whether a saga ``s`` that runs can still be turned round; ``SagaInstance.may_turn`` too."""

AT_DEADLINE = f"""CASE WHEN s.status = 'running' AND {MAY_TURN} THEN
    least(s.deadline_at, s.step_deadline_at) - (sagas.now() - clock_timestamp()) END"""
"""When the time of a saga ``s`` is over, as real time; NULL where that turns nothing round."""

# Each fault is a row of its own; what is put off again and again is one row that counts.
# Only who holds the saga, or the branch, gets here, so that no two count one row at once.
FAULT = """
again AS (
    UPDATE sagas_stepfault AS f SET times = f.times + 1, first_at = coalesce(f.first_at, f.at),
        at = greatest(f.at, statement_timestamp()), next_at = stopped.not_before,
        attempt = stopped.attempts, error = %(error)s, worker = %(worker)s, task_id = %(task)s
    FROM stopped WHERE f.kind = 'postponed' AND %(kind)s = 'postponed' AND f.id = (
        SELECT id FROM sagas_stepfault WHERE saga_id = %(id)s AND step_no = %(step_no)s
            AND direction = %(direction)s ORDER BY at DESC, id DESC LIMIT 1)
    RETURNING 1),
fault AS (
    INSERT INTO sagas_stepfault (id, saga_id, step_no, name, direction, attempt, kind, error,
        traceback, worker, task_id, next_at)
    SELECT %(fault_id)s, id, %(step_no)s, %(name)s, %(direction)s, attempts, %(kind)s, %(error)s,
        %(traceback)s, %(worker)s, %(task)s,
        CASE WHEN %(parked)s::text IS NULL THEN not_before END
    FROM stopped WHERE NOT EXISTS (SELECT FROM again))
SELECT count(*) FROM stopped
"""
"""Writes the fault of what a statement has ``stopped``: its id, its attempts, its next time."""

_FAULT = """
WITH stopped AS (
    UPDATE sagas_saga AS s SET leased_until = NULL,
        attempts = CASE WHEN %(counts)s THEN greatest(attempts, %(attempts)s)
            ELSE %(attempts)s - 1 END,
        not_before = statement_timestamp() + make_interval(secs => %(delay)s),
        due_at = CASE WHEN %(parked)s::text IS NOT NULL THEN {at_deadline}
            ELSE greatest(statement_timestamp(), least({at_deadline},
                statement_timestamp() + make_interval(secs => %(delay)s))) END,
        parked_at = CASE WHEN %(parked)s::text IS NOT NULL THEN statement_timestamp() END,
        parked_reason = %(parked)s, updated_at = statement_timestamp()
    WHERE id = %(id)s AND status = %(status)s AND cursor = %(step_no)s
        AND fencing_token = %(token)s
    RETURNING id, attempts, not_before),
{fault}
"""


def record_fault(claimed: Claim, fault: Fault, *, delay: float, parked: str | None) -> None:
    """Store a fault with the time of the next attempt, or park the saga with a reason.

    A parked saga before the point of no return stays visible for its deadline, which compensates
    it; after it, it waits for an operator.

    :raises StaleFencingToken: if the saga is no longer this worker's, or the step is done after
        all: only the answer to its commit was lost
    """
    parameters: dict[str, Any] = {
        "id": claimed.saga_id,
        "status": claimed.status,
        "token": claimed.token,
        "delay": delay,
        "parked": parked,
        # The second step of a link runs under the claim of the first, and has no count yet.
        "attempts": claimed.attempts,
        "counts": fault.counts,
        "fault_id": uuid7(),
        "step_no": fault.step_no,
        "name": fault.name,
        "direction": fault.direction,
        "kind": fault.kind,
        "error": fault.error,
        "traceback": fault.traceback,
        "worker": worker_name(),
        "task": task_id(),
    }
    with engine_cursor() as cursor:
        statement = _FAULT.replace("{fault}", FAULT).replace("{at_deadline}", AT_DEADLINE)
        cursor.execute(statement, parameters)
        if cursor.fetchone() != (1,):
            raise StaleFencingToken
    if parked is not None:
        sometimes("saga.parked")


def note_rejection(claimed: Claim, fault: Fault) -> None:
    """Keep a rejection among the attempts, for the operator's list; part of its transaction."""
    with engine_cursor() as cursor:
        cursor.execute(
            "INSERT INTO sagas_stepfault (id, saga_id, step_no, name, direction, attempt, kind,"
            " error, traceback, worker, task_id) VALUES"
            " (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                uuid7(),
                claimed.saga_id,
                fault.step_no,
                fault.name,
                fault.direction,
                claimed.attempts,
                fault.kind,
                fault.error,
                fault.traceback,
                worker_name(),
                task_id(),
            ],
        )


DEADLINE = "deadline"
"""Why a saga compensates that has run out of time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a saga has to stand for its time there to be over."""

    cursor: int
    step: str | None
    """The step's name; None where this release does not know it."""


_COMPENSATE = """
UPDATE sagas_saga AS s SET status = 'compensating', cursor = last_step, failure = %(failure)s,
    canceled_by = %(by)s, fencing_token = fencing_token + 1, attempts = 0, hints = 0, pending = 0,
    leased_until = NULL, not_before = NULL, parked_at = NULL, parked_reason = NULL,
    waiting_for = NULL, wait_until = NULL, past_return = false,
    step_deadline_at = NULL, failed_step = coalesce(%(step)s, failed_step),
    due_at = clock_timestamp() + make_interval(secs => %(grace)s),
    updated_at = clock_timestamp()
WHERE id = %(id)s AND status = 'running'
    AND {may_turn}
    AND (%(at)s::smallint IS NULL OR cursor = %(at)s)
    AND (%(token)s::bigint IS NULL OR fencing_token = %(token)s)
"""


def begin_compensation(
    saga_id: UUID,
    *,
    failure: str,
    by: str | None,
    at: Standing | None = None,
    token: int | None = None,
) -> bool:
    """Turn a running saga round, for whoever asks: customer, operator or deadline.

    :param at: only if it still stands there, so that a step which ends in time has ended in time
    :param token: only under that one, so that nobody has let it go on since it was read

    Also raises the fencing token and ends the lease, so that a worker in the middle of a step is
    refused when it wants to commit, and clears a parking. False = past the point of no return, or
    no longer running.
    """
    with engine_cursor() as cursor:
        cursor.execute(
            _COMPENSATE.replace("{may_turn}", MAY_TURN),
            {
                "id": saga_id,
                "failure": failure,
                "by": by,
                "at": at.cursor if at else None,
                "step": at.step if at else None,
                "token": token,
                "grace": conf.HINT_GRACE,
            },
        )
        begun = bool(cursor.rowcount == 1)
    if begun and failure == DEADLINE:
        sometimes("saga.overdue")
    return begun


def resume(saga_id: UUID, *, token: int | None = None) -> bool:
    """Let a parked saga go on where it stopped; False when it is not parked.

    :param token: only under that one, so that it is the parking that was read
    """
    with engine_cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET parked_at = NULL, parked_reason = NULL, attempts = 0,"
            " hints = 0, not_before = NULL, leased_until = NULL,"
            " fencing_token = fencing_token + 1,"
            " due_at = clock_timestamp() + make_interval(secs => %(grace)s),"
            " updated_at = clock_timestamp()"
            " WHERE id = %(id)s AND parked_at IS NOT NULL"
            " AND (%(token)s::bigint IS NULL OR fencing_token = %(token)s)",
            {"id": saga_id, "token": token, "grace": conf.HINT_GRACE},
        )
        return bool(cursor.rowcount == 1)


def park(saga_id: UUID, *, reason: str) -> bool:
    """Stop an unfinished saga for an operator; False when it has ended or is parked."""
    with engine_cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga AS s SET parked_at = clock_timestamp(), parked_reason = %s,"
            " fencing_token = fencing_token + 1, leased_until = NULL, due_at = {at_deadline},"
            " updated_at = clock_timestamp()"
            " WHERE id = %s AND parked_at IS NULL AND finished_at IS NULL".replace(
                "{at_deadline}", AT_DEADLINE
            ),
            [reason, saga_id],
        )
        return bool(cursor.rowcount == 1)
