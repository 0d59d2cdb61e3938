"""The sweeper: the guarantee that no saga is forgotten.

Reads one column, ``due_at``: the end of a lease, the time of a retry, or the time by which a hint
should have been taken. Any number of sweepers may run; each row goes to one of them.
"""

import json
import logging
from operator import itemgetter
from typing import Any
from uuid import UUID

from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration import branches, canvas, registry, stops, versions
from sagas.orchestration.store import engine_cursor
from sagas.outbox.apart import Apart
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)

# Rows that were hinted and not taken (no lease ran out, no retry came due) get more patience
# while the queue is not empty: their first message is probably still in it, and doubling every
# message of a backlog halves the throughput (traps 0.2, step 6). The longer the queue, the more:
# otherwise a backlog that lasts longer than the patience feeds on its own hints and never drains.
# That of another queue is none of a saga's business.
# A lease that ran out is an attempt, also where the step's predecessor had ended the count: the
# saga is not fresh, and no batch takes it along. The rows are looked for by statement_timestamp():
# for clock_timestamp() no index can be searched, and every saga that sleeps would be read.
_SWEEP = """
WITH due AS (
    SELECT id, due_at FROM sagas_saga
    WHERE due_at <= statement_timestamp()
        AND (leased_until IS NOT NULL OR not_before IS NOT NULL OR parked_at IS NOT NULL
            OR due_at <= statement_timestamp() - make_interval(secs => coalesce((%(sooner)s::jsonb
                ->> (name || '/' || def_version || '/' || cursor))::float8, %(patience)s)))
    ORDER BY due_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
UPDATE sagas_saga AS s SET hints = hints + 1, leased_until = NULL, not_before = NULL,
    attempts = CASE WHEN leased_until IS NULL THEN attempts ELSE greatest(attempts, 1) END,
    due_at = clock_timestamp() + make_interval(secs =>
        least(%(grace)s * power(1.7, least(hints, 20)), %(cap)s))
FROM due WHERE s.id = due.id
RETURNING s.id, s.name, s.def_version, s.fingerprint, s.last_step, s.status, s.cursor,
    {may_turn}, s.parked_at IS NOT NULL, s.deadline_at, s.traceparent,
    CASE WHEN s.attempts = 0 THEN s.hints END, s.step_deadline_at, sagas.now(), due.due_at
"""


def sweep() -> int:
    """Publish a hint for every saga that is due, oldest first; return how many."""
    longest, sooner = _patience()
    with engine_cursor() as cursor:
        cursor.execute(
            _SWEEP.replace("{may_turn}", stops.MAY_TURN),
            {
                "patience": longest,
                "sooner": json.dumps(_by_step(sooner)),
                "batch": int(conf.SWEEP_BATCH),
                "grace": conf.HINT_GRACE,
                "cap": conf.HINT_CAP,
            },
        )
        # What comes back of an UPDATE is in no order.
        rows = sorted(cursor.fetchall(), key=itemgetter(-1))
    failpoint("sweep.claimed")
    with Apart() as apart:
        for row in rows:
            # One whose row is held, say, keeps nobody behind it from being rung for.
            with apart.each():
                _take_up(row)
        if rows:
            sometimes("sweep.hinted")
            failpoint("sweep.published")
            log.info("swept", extra={"sagas": len(rows)})
        hinted = len(rows)
        with apart.each():
            hinted += branches.sweep(patience=longest, sooner=sooner)
    return hinted


def _patience() -> tuple[float, dict[str, float]]:
    """Return how long a hint may lie in the longest queue, and for contexts where it is less."""
    queues = {
        context: canvas.queue_of(context)
        for saga in registry.SAGAS.values()
        for context in saga.contexts
    }
    of_queues = {queue: _of_queue(canvas.depth(queue)) for queue in sorted(set(queues.values()))}
    patience = {context: of_queues[queue] for context, queue in queues.items()}
    longest = max(patience.values(), default=0.0)
    return longest, {context: less for context, less in patience.items() if less < longest}


def _of_queue(waiting: int) -> float:
    return conf.BUSY_GRACE * (1 + waiting / conf.SWEEP_BATCH) if waiting else 0.0


def _by_step(sooner: dict[str, float]) -> dict[str, float]:
    """Return the same by the step under the cursor, whose context it is."""
    return {
        f"{name}/{version}/{number}": sooner[context]
        for (name, version), saga in registry.SAGAS.items()
        for number, context in enumerate(saga.contexts)
        if context in sooner
    }


def _take_up(row: tuple[Any, ...]) -> None:
    saga_id, name, version, fingerprint, last_step, status, cursor, may_turn, parked = row[:9]
    # What is due and what is overdue is told by one clock, that of the database: a row that is the
    # one and not the other would come again with each sweep, in front of everybody else.
    deadline, trace, untried, limit, now = row[9:14]
    began = versions.Beginning(
        name=name, def_version=version, fingerprint=fingerprint, last_step=last_step
    )
    at = None if deadline <= now or limit is None else _standing(began, cursor)
    overdue = min(filter(None, (deadline, limit))) <= now
    turns = status == Status.RUNNING and may_turn and overdue
    if turns and stops.begin_compensation(saga_id, failure=stops.DEADLINE, by=None, at=at):
        failpoint("deadline.committed")
        status, cursor = Status.COMPENSATING, last_step
    elif parked:
        _wait_for_deadline(saga_id)
        return
    saga = versions.to_ring(saga_id, began)
    if saga is None:
        return
    direction = Direction.DO if status == Status.RUNNING else Direction.UNDO
    if direction is Direction.DO and saga.branches(cursor):
        return  # its branches are due by themselves
    if untried is not None and untried > 1:
        # The message that its key speaks of does not come, nor, it may be, does the key's end.
        canvas.forget(saga, cursor, direction)
    # The first hint for a saga that nobody has tried may be shared with its like, no later one.
    canvas.send(
        saga,
        saga_id,
        cursor=cursor,
        direction=direction,
        traceparent=trace,
        swept=True,
        alone=untried != 1,
    )


def _standing(began: versions.Beginning, cursor: int) -> stops.Standing:
    saga = versions.found(began)
    return stops.Standing(cursor=cursor, step=saga.steps[cursor].name if saga else None)


def _wait_for_deadline(saga_id: UUID) -> None:
    """Let a parked saga rest until its deadline can compensate it."""
    with engine_cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga AS s SET due_at = {at_deadline}"
            " WHERE id = %s AND parked_at IS NOT NULL".replace("{at_deadline}", stops.AT_DEADLINE),
            [saga_id],
        )


def continue_saga(saga_id: UUID) -> bool:
    """Read the row and send what is due; the body of every ``link_error``.

    An error callback also rings for steps that have committed and for workers that died, so it
    decides nothing. Lost, doubled or false calls are harmless.
    """
    failpoint("continue.before")
    row = SagaInstance.objects.filter(id=saga_id, finished_at=None, parked_at=None).first()
    if row is None:
        sometimes("callback.late")
        return False
    if row.leased_until is not None or row.not_before is not None:
        sometimes("callback.late")
        return False  # a worker has it, or a delay runs: the sweeper comes when it ends
    direction = Direction.DO if row.status == Status.RUNNING else Direction.UNDO
    saga = versions.to_ring(saga_id, row)
    if saga is None:
        return False  # a release that knows it has to run: the sweeper keeps it due
    trace = row.traceparent
    if direction is Direction.DO and saga.branches(row.cursor):
        return branches.send_claimable(saga, saga_id, traceparent=trace)
    # One that was tried is not fresh: nobody would take it along.
    return canvas.send(
        saga,
        saga_id,
        cursor=row.cursor,
        direction=direction,
        traceparent=trace,
        alone=row.attempts > 0,
    )
