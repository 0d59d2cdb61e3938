"""A claimed saga in the hand of a worker, on its way through one link.

See Note [The row is the truth] in ``executor.py``.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from time import monotonic
from typing import Any

from sagas.core import codec
from sagas.core.commands import Unknown
from sagas.core.keys import Direction
from sagas.correlation import Correlation, correlated
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import canvas, donekeys, faults, limits, locks, registry, versions
from sagas.orchestration.awaiting import arrive, go_back
from sagas.orchestration.compensation import undo_step
from sagas.orchestration.faults import Attempt
from sagas.orchestration.handlers import calls_out
from sagas.orchestration.steps import StepRejected, do_step
from sagas.orchestration.store import Claim, StaleFencingToken
from sagas.orchestration.work import Done, Waiting, Work
from sagas.orchestration.worker import is_spent
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)


class LinkEnd(Enum):
    """How a link ended; what the task tells Celery follows from it."""

    PASSED = "passed"
    """The cursor is past the link: return, so that the chain goes on."""
    STOPPED = "stopped"
    """Not ours, not now, or to be continued by another message: Ignore."""
    REJECTED = "rejected"
    """Compensation has begun: raise, so that link_error brings it on its way."""
    CALLS = "calls"
    """The next step calls out, and the worker was told not to: the saga is still its own."""


def correlation_of(claimed: Claim) -> Correlation:
    """Return what everything that is done for a saga is traced back to."""
    return Correlation(
        correlation_id=claimed.correlation_id,
        causation_id=str(claimed.saga_id),
        traceparent=claimed.traceparent,
    )


class Carried:
    """One claimed saga on its way through one link."""

    def __init__(
        self,
        claimed: Claim,
        low: int,
        high: int,
        direction: Direction,
        *,
        started: float | None = None,
        chained: bool = True,
    ) -> None:
        """Take a claimed saga, as part of a batch that has ``started`` before.

        :param chained: a Celery chain stands behind it, which brings the next link and
            ``link_error``
        """
        self.claimed = claimed
        self.low = low
        self.high = high
        self.direction = direction
        self.started = monotonic() if started is None else started
        self.chained = chained
        self.saga: Any = None
        self.came_to: dict[int, RunState] = {}

    def carry_on(self, *, calls: bool = True) -> LinkEnd:
        """Go on from the cursor, unless told not to make calls only up to the first one."""
        return self._held(lambda: self._run(calls=calls)) or LinkEnd.CALLS

    def begin(self) -> LinkEnd | None:
        """Read what was claimed; None when there is something to do."""
        return self._held(self._begin) if self.saga is None else None

    def step(self) -> LinkEnd | None:
        """Carry out the step under the cursor; None while there is more to do here."""
        return self._held(self._step)

    def moved(self, work: Work, done: Done) -> LinkEnd | None:
        """Follow a commit that was made for this saga and others; None as for ``step``."""
        return self._held(lambda: self._moved(work, done))

    def failed(self, trouble: Exception) -> LinkEnd | None:
        """Store a fault of the step under the cursor, and let the saga go."""
        name = self.saga.steps[self.claimed.cursor].name
        return self._held(lambda: self._fault(name, "fault", trouble))

    def _held(self, act: Callable[[], LinkEnd | None]) -> LinkEnd | None:
        """Do something with the saga under its own trace, as long as it is this worker's."""
        with correlated(correlation_of(self.claimed)):
            try:
                return act()
            except StaleFencingToken:
                log.info("fence_refused", extra={"saga_id": str(self.claimed.saga_id)})
                return LinkEnd.STOPPED

    def send(self) -> None:
        """Ring for a saga that this worker has let go."""
        self._send(self.claimed.cursor, self.direction)

    def _send(self, cursor: int, direction: Direction) -> None:
        saga_id, trace = self.claimed.saga_id, self.claimed.traceparent
        saga = self.saga or versions.to_ring(saga_id, self.claimed)
        if saga is not None:  # else one that was given back unbegun: the sweeper rings for it
            canvas.send(saga, saga_id, cursor=cursor, direction=direction, traceparent=trace)

    def _run(self, *, calls: bool) -> LinkEnd | None:
        end = self._begin() if self.saga is None else None
        while end is None and (calls or not self._calls_out()):
            end = self._step()
        return end

    def _calls_out(self) -> bool:
        return calls_out(self.saga, self.claimed.cursor, self.direction)

    def _begin(self) -> LinkEnd | None:
        try:
            self.saga = versions.fitting(self.claimed)
            self.state = codec.decode(self.saga.state, self.claimed.state)
        except registry.UnknownSaga as unknown:
            versions.leave(self.claimed, unknown)
            return LinkEnd.STOPPED
        except codec.CannotDecode as unreadable:
            return self._fault(f"step {self.claimed.cursor}", "fault", unreadable)
        if locks.sleeps_on(self.saga, self.claimed) or faults.park_worn_out(self._attempt()):
            return LinkEnd.STOPPED
        self.claimed = limits.counted(self.saga, self.claimed)
        return None

    def _is_past(self) -> bool:
        if self.direction is Direction.DO:
            return self.claimed.cursor > self.high
        return self.claimed.cursor < self.low

    def work(self) -> Work:
        """Return what is needed to run the step under the cursor."""
        return Work(
            saga=self.saga,
            claimed=self.claimed,
            state=self.state,
            keeps_lease=self._keeps_lease,
            turns_here=self._turns_here,
            forward=self.came_to.get(self.claimed.cursor),
        )

    def _step(self) -> LinkEnd | None:
        if limits.is_over(self.claimed):
            return self._compensate_overdue()
        work = self.work()
        try:
            done = self._carry_out(work)
        except StaleFencingToken:
            sometimes("fence.refused")
            raise
        except Waiting:
            failpoint("wait.committed", work.place)
            return LinkEnd.STOPPED
        except StepRejected as no:
            self._note_rejection(work)
            return self._rejected(self.claimed.last_step if no.cursor is None else no.cursor)
        except Unknown as unknown:
            sometimes("outcome.unknown")
            return self._fault(work.step.name, "unknown", unknown)
        except Exception as fault:  # noqa: BLE001 - whatever a handler raises is a fault, stored with its traceback
            return self._fault(work.step.name, "fault", fault)
        return self._moved(work, done)

    def _moved(self, work: Work, done: Done) -> LinkEnd | None:
        self.came_to[work.number] = done.run
        if done.rejected is None:
            failpoint("step.committed", work.place)
        else:
            self._note_rejection(work)
            self._turn(done.cursor, done.rejected)
        self.claimed = replace(
            self.claimed,
            cursor=done.cursor,
            past_return=done.past_return,
            attempts=1,
            claimed_at=done.at,
            step_deadline_at=done.step_deadline_at,
        )
        self.state = done.state
        if self._is_past():
            return self._ended()
        if done.kept_lease:
            return None
        sometimes("slice.spent")
        self.send()
        return LinkEnd.STOPPED

    def _ended(self) -> LinkEnd:
        if self.chained:
            donekeys.remember(self.claimed.saga_id, self.low, self.high, self.direction)
        failpoint("link.ended")
        unfinished = 0 <= self.claimed.cursor <= self.claimed.last_step
        # Where Celery has no next link to publish: a chain ends at a group.
        if unfinished and (not self.chained or self._is_at_a_group()):
            self.send()
        return LinkEnd.PASSED if self.chained else LinkEnd.STOPPED

    def _is_at_a_group(self) -> bool:
        return self.direction is Direction.DO and bool(self.saga.branches(self.claimed.cursor))

    def _note_rejection(self, work: Work) -> None:
        sometimes("step.rejected")
        failpoint("reject.committed", work.place)

    def _rejected(self, cursor: int) -> LinkEnd:
        """Leave the way back to ``link_error``, or ring where no chain has one for us."""
        if self.chained:
            return LinkEnd.REJECTED
        # A message for those that stand a step further takes none along that stands here.
        self._send(cursor, Direction.UNDO)
        return LinkEnd.STOPPED

    def _turns_here(self, cursor: int) -> bool:
        """Return whether a rejection leaves the saga with this worker, to undo it from there."""
        number, contexts = self.claimed.cursor, self.saga.contexts
        if self.saga.steps[number].awaits is not None or is_spent(self.started):
            return False
        return canvas.queue_of(contexts[number]) == canvas.queue_of(contexts[cursor])

    def _turn(self, cursor: int, failure: str) -> None:
        """Follow the saga on its way back, whose chain nobody has published."""
        sometimes("turned.in_task")
        link = canvas.links(self.saga, cursor, Direction.UNDO)[0]
        self.low, self.high = link.low, link.high
        self.direction, self.chained = Direction.UNDO, False
        self.claimed = replace(
            self.claimed,
            status=Status.COMPENSATING,
            token=self.claimed.token + 1,
            failure=failure,
        )

    def _carry_out(self, work: Work) -> Done:
        if work.step.awaits is not None:
            return arrive(work) if self.direction is Direction.DO else go_back(work)
        return do_step(work) if self.direction is Direction.DO else undo_step(work)

    def _keeps_lease(self) -> bool:
        """Return whether the commit under way leaves the saga with this worker.

        Asked inside the commit: a link that ends (last step, or its slice is spent) must have
        released the lease before anything is published, or the next link would find it live.
        """
        if is_spent(self.started):
            return False
        if self.direction is Direction.DO:
            return self.claimed.cursor < self.high
        return self.claimed.cursor > self.low

    def _compensate_overdue(self) -> LinkEnd:
        limits.turn_round(self.claimed, self.saga)
        failpoint("deadline.committed")
        self._send(self.claimed.last_step, Direction.UNDO)
        return LinkEnd.STOPPED

    def _fault(self, name: str, kind: str, error: BaseException) -> LinkEnd:
        faults.record(self._attempt(), name, kind, error)
        return LinkEnd.STOPPED

    def _attempt(self) -> Attempt:
        return Attempt(claimed=self.claimed, saga=self.saga, direction=self.direction)
