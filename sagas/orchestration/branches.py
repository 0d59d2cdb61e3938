"""Carrying out one branch of a parallel group, and ringing for those that are due.

A branch is a message of its own, so two of them run at once wherever there are workers. What
``executor.py`` says of a saga holds here of a branch: it believes nothing it has read before, and
its commit names all that it relies on.
"""

import json
import logging
from operator import itemgetter
from typing import Any
from uuid import UUID

from sagas import error_texts
from sagas.conf import conf
from sagas.core import codec
from sagas.core.commands import Postponed, Unknown
from sagas.core.definition import Saga
from sagas.core.keys import Direction
from sagas.core.retry import DEFAULT
from sagas.correlation import Correlation, correlated
from sagas.failpoints import failpoint
from sagas.orchestration import (
    branch_rows,
    branch_stops,
    canvas,
    group,
    limits,
    registry,
    stops,
    versions,
)
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.steps import StepRejected, do_step
from sagas.orchestration.store import Claim, StaleFencingToken, engine_cursor
from sagas.orchestration.work import Work
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)


def run_branch(saga_id: UUID, step_no: int) -> LinkEnd:
    """Carry out one branch, as far as it is still to be done."""
    claimed = branch_rows.claim(saga_id, step_no)
    if claimed is None:
        sometimes("copy.refused")
        return LinkEnd.STOPPED
    failpoint("claim.committed")
    correlation = Correlation(
        correlation_id=claimed.correlation_id,
        causation_id=str(claimed.saga_id),
        traceparent=claimed.traceparent,
    )
    with correlated(correlation):
        try:
            return _Branch(claimed).run()
        except StaleFencingToken:
            sometimes("fence.refused")
            log.info("fence_refused", extra={"saga_id": str(saga_id)})
            return LinkEnd.STOPPED


class _Branch:
    """One claimed branch."""

    def __init__(self, claimed: Claim) -> None:
        self.claimed = claimed
        self.saga: Saga[Any] | None = None
        self.saga_id = str(claimed.saga_id)

    def run(self) -> LinkEnd:
        try:
            self.saga = versions.fitting(self.claimed)
            state = codec.decode(self.saga.state, self.claimed.state)
        except registry.UnknownSaga as unknown:
            log.warning("saga_unknown", extra={"saga_id": self.saga_id, "error": str(unknown)})
            branch_stops.leave(self.claimed)
            return LinkEnd.STOPPED
        except codec.CannotDecode as unreadable:
            return self._fault(f"step {self.claimed.cursor}", "fault", unreadable)
        if self._is_worn_out(self.saga.steps[self.claimed.cursor].name):
            return LinkEnd.STOPPED
        if limits.is_over(self.claimed):
            return self._compensate_overdue(self.saga)
        work = Work(saga=self.saga, claimed=self.claimed, state=state, keeps_lease=lambda: False)
        return self._carry_out(work)

    def _carry_out(self, work: Work) -> LinkEnd:
        try:
            done = do_step(work)
        except StaleFencingToken:
            raise
        except StepRejected:
            sometimes("step.rejected")
            failpoint("reject.committed", work.place)
            return LinkEnd.REJECTED
        except Unknown as unknown:
            sometimes("outcome.unknown")
            return self._fault(work.step.name, "unknown", unknown)
        except group.CannotKeep as unable:
            return self._fault(unable.step or work.step.name, "fault", unable)
        except Exception as fault:  # noqa: BLE001 - whatever a handler raises is a fault, stored with its traceback
            return self._fault(work.step.name, "fault", fault)
        failpoint("step.committed", work.place)
        if done.cursor != work.group:
            sometimes("group.joined")
            self._send(work.saga, done.cursor, Direction.DO)
        return LinkEnd.PASSED

    def _send(self, saga: Saga[Any], cursor: int, direction: Direction) -> None:
        canvas.send(
            saga,
            self.claimed.saga_id,
            cursor=cursor,
            direction=direction,
            traceparent=self.claimed.traceparent,
        )

    def _compensate_overdue(self, saga: Saga[Any]) -> LinkEnd:
        stops.begin_compensation(self.claimed.saga_id, failure=stops.DEADLINE, by=None)
        failpoint("deadline.committed")
        self._send(saga, self.claimed.last_step, Direction.UNDO)
        return LinkEnd.STOPPED

    def _is_worn_out(self, name: str) -> bool:
        """Park the saga of a branch whose attempts die before they can say why."""
        if self.claimed.attempts <= self._bound():
            return False
        error = f"{self.claimed.attempts - 1} attempts of {name} ended without a trace"
        self._store(name, "fault", error, "", parked=f"{error}: workers died or froze in it")
        return True

    def _bound(self) -> int:
        chosen = self.saga.steps[self.claimed.cursor].retry.max_attempts if self.saga else None
        return int(chosen or conf.MAX_ATTEMPTS)

    def _fault(self, name: str, kind: str, error: BaseException) -> LinkEnd:
        text = error_texts.text_of(error)
        log.warning(
            "step_fault",
            extra={"saga_id": self.saga_id, "step": name, "error": text},
        )
        if isinstance(error, Postponed):
            self._store(name, "postponed", text, "", parked=None, wait=error.wait)
            return LinkEnd.STOPPED
        trace = error_texts.trace_of(error)
        parked = None
        if self.claimed.attempts >= self._bound():
            parked = f"{name}: {self.claimed.attempts} attempts, the last: {text}"
        self._store(name, kind, text, trace, parked=parked)
        return LinkEnd.STOPPED

    def _store(
        self,
        name: str,
        kind: str,
        error: str,
        trace: str,
        *,
        parked: str | None,
        wait: float | None = None,
    ) -> None:
        policy = self.saga.steps[self.claimed.cursor].retry if self.saga else DEFAULT
        fault = stops.Fault(
            step_no=self.claimed.cursor,
            name=name,
            direction=Direction.DO,
            kind=kind,
            error=error,
            traceback=trace,
            counts=wait is None,
        )
        delay = wait
        if delay is None:
            delay = policy.delay(self.claimed.attempts, base=conf.DELAY_BASE, cap=conf.DELAY_CAP)
        branch_stops.record_fault(self.claimed, fault, delay=delay, parked=parked)
        failpoint("fault.committed", name)


# Like the sweep of sagas. A branch of a saga that is parked or compensates is not rung for; it
# stays due, with the patience of one that nobody takes, for the resume or the undo that comes.
_SWEEP = """
WITH due AS (
    SELECT id, due_at FROM sagas_steprun
    WHERE due_at <= statement_timestamp()
        AND (leased_until IS NOT NULL OR not_before IS NOT NULL
            OR due_at <= statement_timestamp() - make_interval(secs =>
                coalesce((%(sooner)s::jsonb ->> context)::float8, %(patience)s)))
    ORDER BY due_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
UPDATE sagas_steprun AS r SET hints = r.hints + 1, leased_until = NULL, not_before = NULL,
    due_at = clock_timestamp() + make_interval(secs =>
        least(%(grace)s * power(1.7, least(r.hints, 20)), %(cap)s))
FROM due, sagas_saga AS s WHERE r.id = due.id AND s.id = r.saga_id
RETURNING r.saga_id, r.step_no, s.traceparent, s.name, s.def_version, s.fingerprint, s.last_step,
    s.status = 'running' AND s.parked_at IS NULL, due.due_at
"""


def sweep(*, patience: float, sooner: dict[str, float]) -> int:
    """Publish a hint for every branch that is due, oldest first; return how many.

    :param patience: how long its last hint may lie in the queue
    :param sooner: the same for contexts whose queue is shorter
    """
    with engine_cursor() as cursor:
        cursor.execute(
            _SWEEP,
            {
                "patience": patience,
                "sooner": json.dumps(sooner),
                "batch": int(conf.SWEEP_BATCH),
                "grace": conf.HINT_GRACE,
                "cap": conf.HINT_CAP,
            },
        )
        # What comes back of an UPDATE is in no order.
        rows = sorted(cursor.fetchall(), key=itemgetter(-1))
    failpoint("sweep.claimed")
    hinted = sum(_take_up(*row[:7]) for row in rows if row[7])
    if hinted:
        sometimes("sweep.hinted")
        failpoint("sweep.published")
        log.info("swept_branches", extra={"sagas": hinted})
    return hinted


def _take_up(saga_id: UUID, step_no: int, trace: str | None, *began: Any) -> bool:
    name, version, fingerprint, last_step = began
    saga = versions.to_ring(
        saga_id,
        versions.Beginning(
            name=name, def_version=version, fingerprint=fingerprint, last_step=last_step
        ),
    )
    if saga is None:
        return False
    canvas.send_branches(saga, saga_id, [step_no], traceparent=trace)
    return True


def send_claimable(saga: Saga[Any], saga_id: UUID, *, traceparent: str | None) -> bool:
    """Ring for the branches of a saga that nobody has and no delay holds back."""
    with engine_cursor() as cursor:
        cursor.execute(
            "SELECT step_no FROM sagas_steprun WHERE saga_id = %s AND direction = 'do'"
            " AND due_at IS NOT NULL AND leased_until IS NULL AND not_before IS NULL"
            " ORDER BY step_no",
            [saga_id],
        )
        numbers = [row[0] for row in cursor.fetchall()]
    return canvas.send_branches(saga, saga_id, numbers, traceparent=traceparent)
