"""Carrying out one link of a saga: claim it, run its steps, commit each, stop cleanly.

# Note [The row is the truth]
A worker may die, freeze or be doubled between any two statements. So it believes nothing it has
read before: every commit names the status, the cursor and the fencing token it relies on, and a
commit that changes no row means that somebody was faster. The protocol and the model that
checks it are described in ``docs/engine.md``.
"""

import logging
import traceback
from dataclasses import replace
from enum import Enum
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import DatabaseError

from sagas import clock
from sagas.conf import conf
from sagas.core import codec
from sagas.core.commands import Unknown
from sagas.core.definition import Saga
from sagas.core.keys import Direction
from sagas.core.retry import DEFAULT
from sagas.correlation import Correlation, correlated
from sagas.failpoints import failpoint
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration import canvas, donekeys, registry, stops, store, versions
from sagas.orchestration.awaiting import arrive, go_back
from sagas.orchestration.compensation import undo_step
from sagas.orchestration.steps import StepRejected, do_step
from sagas.orchestration.store import Claim, StaleFencingToken
from sagas.orchestration.work import Done, Waiting, Work
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)

STATUS = {Direction.DO: Status.RUNNING, Direction.UNDO: Status.COMPENSATING}


class LinkEnd(Enum):
    """How a link ended; what the task tells Celery follows from it."""

    PASSED = "passed"
    """The cursor is past the link: return, so that the chain goes on."""
    STOPPED = "stopped"
    """Not ours, not now, or to be continued by another message: Ignore."""
    REJECTED = "rejected"
    """Compensation has begun: raise, so that link_error brings it on its way."""


def run_link(
    saga_id: UUID, low: int, high: int, direction: Direction, *, swept: bool = False
) -> LinkEnd:
    """Carry out the steps ``low`` to ``high`` of a saga, as far as they are still to be done."""
    if not swept and donekeys.all_done(saga_id, low, high, direction):
        sometimes("link.remembered")
        return LinkEnd.PASSED
    failpoint("claim.before")
    claimed = store.claim(saga_id, status=STATUS[direction], low=low, high=high)
    if claimed is None:
        return _not_claimed(saga_id, low, high, direction)
    failpoint("claim.committed")
    correlation = Correlation(
        correlation_id=claimed.correlation_id,
        causation_id=str(claimed.saga_id),
        traceparent=claimed.traceparent,
    )
    with correlated(correlation):
        try:
            return _Link(claimed, low, high, direction).run()
        except StaleFencingToken:
            log.info("fence_refused", extra={"saga_id": str(saga_id)})
            return LinkEnd.STOPPED


def _not_claimed(saga_id: UUID, low: int, high: int, direction: Direction) -> LinkEnd:
    """Tell a link that is already past from one that is not to be run now."""
    row = SagaInstance.objects.filter(id=saga_id).values_list("status", "cursor").first()
    if row is None:
        log.error("saga_missing", extra={"saga_id": str(saga_id)})
        return LinkEnd.STOPPED
    status, cursor = row
    if direction is Direction.DO:
        passed = status in (Status.RUNNING, Status.COMPLETED) and cursor > high
    else:
        passed = status in (Status.COMPENSATING, Status.COMPENSATED) and cursor < low
    sometimes("link.passed" if passed else "copy.refused")
    return LinkEnd.PASSED if passed else LinkEnd.STOPPED


class _Link:
    """One claimed saga on its way through one link."""

    def __init__(self, claimed: Claim, low: int, high: int, direction: Direction) -> None:
        self.claimed = claimed
        self.low = low
        self.high = high
        self.direction = direction
        self.started = monotonic()

    def run(self) -> LinkEnd:
        try:
            self.saga: Saga[Any] = versions.fitting(self.claimed)
            state = codec.decode(self.saga.state, self.claimed.state)
        except registry.UnknownSaga as unknown:
            versions.leave(self.claimed, unknown)
            return LinkEnd.STOPPED
        except codec.CannotDecode as unreadable:
            return self._fault(f"step {self.claimed.cursor}", "fault", unreadable)
        first = self.claimed.cursor
        if self._is_worn_out():
            return LinkEnd.STOPPED
        while True:
            end = self._step(state)
            if isinstance(end, LinkEnd):
                return end
            self.claimed, state, released = end
            if self._is_past():
                self._end(first)
                return LinkEnd.PASSED
            if released:
                sometimes("slice.spent")
                self._send_rest()
                return LinkEnd.STOPPED

    def _end(self, first: int) -> None:
        donekeys.remember(self.claimed.saga_id, *self._done_range(first), self.direction)
        failpoint("link.ended")
        if self.direction is Direction.DO and self.saga.branches(self.claimed.cursor):
            # Celery has no next link to publish: a chain ends at a group.
            self._send_rest()

    def _done_range(self, first: int) -> tuple[int, int]:
        return (first, self.high) if self.direction is Direction.DO else (self.low, first)

    def _is_past(self) -> bool:
        if self.direction is Direction.DO:
            return self.claimed.cursor > self.high
        return self.claimed.cursor < self.low

    def _step(self, state: Any) -> LinkEnd | tuple[Claim, Any, bool]:
        number = self.claimed.cursor
        step = self.saga.steps[number]
        if self._is_overdue():
            return self._compensate_overdue()
        work = Work(
            saga=self.saga,
            claimed=self.claimed,
            state=state,
            keeps_lease=self._keeps_lease,
        )
        try:
            done = self._carry_out(work)
        except StaleFencingToken:
            sometimes("fence.refused")
            raise
        except Waiting:
            failpoint("wait.committed", work.place)
            return LinkEnd.STOPPED
        except StepRejected:
            sometimes("step.rejected")
            failpoint("reject.committed", work.place)
            return LinkEnd.REJECTED
        except Unknown as unknown:
            sometimes("outcome.unknown")
            return self._fault(step.name, "unknown", unknown)
        except Exception as fault:  # noqa: BLE001 - whatever a handler raises is a fault, stored with its traceback
            return self._fault(step.name, "fault", fault)
        failpoint("step.committed", work.place)
        claimed = replace(
            self.claimed,
            cursor=done.cursor,
            past_return=done.past_return,
            attempts=1,
            claimed_at=done.at,
        )
        return claimed, done.state, not done.kept_lease

    def _carry_out(self, work: Work) -> Done:
        if work.step.awaits is not None:
            return arrive(work) if self.direction is Direction.DO else go_back(work)
        return do_step(work) if self.direction is Direction.DO else undo_step(work)

    def _keeps_lease(self) -> bool:
        """Return whether the commit under way leaves the saga with this worker.

        Asked inside the commit: a link that ends (last step, or its slice is spent) must have
        released the lease before anything is published, or the next link would find it live.
        """
        slice_ = min(conf.TIME_SLICE, conf.STEP_TIMEOUT - conf.CALL_TIMEOUT)
        if monotonic() - self.started > slice_:
            return False
        if self.direction is Direction.DO:
            return self.claimed.cursor < self.high
        return self.claimed.cursor > self.low

    def _is_overdue(self) -> bool:
        return (
            self.direction is Direction.DO
            and not self.claimed.past_return
            and self.claimed.deadline_at <= clock.now()
        )

    def _compensate_overdue(self) -> LinkEnd:
        stops.begin_compensation(self.claimed.saga_id, failure=stops.DEADLINE, by=None)
        failpoint("deadline.committed")
        canvas.send(
            self.saga,
            self.claimed.saga_id,
            cursor=self.claimed.last_step,
            direction=Direction.UNDO,
            traceparent=self.claimed.traceparent,
        )
        return LinkEnd.STOPPED

    def _is_worn_out(self) -> bool:
        """Park a saga whose attempts die before they can say why."""
        bound = self._bound(self.claimed.cursor)
        if self.claimed.attempts <= bound:
            return False
        name = self.saga.steps[self.claimed.cursor].name
        error = f"{self.claimed.attempts - 1} attempts of {name} ended without a trace"
        self._store(name, "fault", error, "", parked=f"{error}: workers died or froze in it")
        return True

    def _bound(self, number: int) -> int:
        policy = self.saga.steps[number].retry
        return int(policy.max_attempts or conf.MAX_ATTEMPTS)

    def _fault(self, name: str, kind: str, error: BaseException) -> LinkEnd:
        text = f"{type(error).__name__}: {error}"
        log.warning(
            "step_fault",
            extra={"saga_id": str(self.claimed.saga_id), "step": name, "error": text},
        )
        saga = getattr(self, "saga", None)
        bound = self._bound(self.claimed.cursor) if saga else int(conf.MAX_ATTEMPTS)
        parked = None
        if self.claimed.attempts >= bound:
            parked = f"{name}: {self.claimed.attempts} attempts, the last: {text}"
        trace = "".join(traceback.format_exception(error))
        try:
            self._store(name, kind, text, trace, parked=parked)
        except StaleFencingToken:
            # Most likely the commit got through, and only its answer was lost.
            sometimes("commit.unanswered" if isinstance(error, DatabaseError) else "fence.refused")
            raise
        return LinkEnd.STOPPED

    def _store(self, name: str, kind: str, error: str, trace: str, *, parked: str | None) -> None:
        saga = getattr(self, "saga", None)
        delay = 0.0
        if parked is None:
            policy = saga.steps[self.claimed.cursor].retry if saga else DEFAULT
            delay = policy.delay(self.claimed.attempts, base=conf.DELAY_BASE, cap=conf.DELAY_CAP)
        fault = stops.Fault(
            step_no=self.claimed.cursor,
            name=name,
            direction=self.direction,
            kind=kind,
            error=error,
            traceback=trace,
        )
        stops.record_fault(self.claimed, fault, delay=delay, parked=parked)
        failpoint("fault.committed", name)

    def _send_rest(self) -> None:
        canvas.send(
            self.saga,
            self.claimed.saga_id,
            cursor=self.claimed.cursor,
            direction=self.direction,
            traceparent=self.claimed.traceparent,
        )
