"""What becomes of an attempt that went wrong: another one later, or an operator."""

import logging
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError

from sagas import error_texts
from sagas.conf import conf
from sagas.core.commands import Postponed
from sagas.core.definition import Saga
from sagas.core.keys import Direction
from sagas.core.retry import DEFAULT
from sagas.failpoints import failpoint
from sagas.orchestration import stops
from sagas.orchestration.store import Claim, StaleFencingToken
from sagas.sometimes import sometimes

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One claim of a saga, and what it is an attempt at."""

    claimed: Claim
    saga: Saga[Any] | None
    """Its definition; None when it cannot be read."""
    direction: Direction

    @property
    def most(self) -> int:
        """Return how many attempts there may be."""
        chosen = self.saga.steps[self.claimed.cursor].retry.max_attempts if self.saga else None
        return int(chosen or conf.MAX_ATTEMPTS)


def record(attempt: Attempt, name: str, kind: str, error: BaseException) -> None:
    """Store a fault with the time of the next attempt; park the saga after too many.

    :raises StaleFencingToken: if the saga is no longer this worker's, or the step is done after all
    """
    claimed = attempt.claimed
    text = error_texts.text_of(error)
    log.warning("step_fault", extra={"saga_id": str(claimed.saga_id), "step": name, "error": text})
    parked = None
    counts = not isinstance(error, Postponed)
    if counts and claimed.attempts >= attempt.most:
        parked = f"{name}: {claimed.attempts} attempts, the last: {text}"
    fault = stops.Fault(
        step_no=claimed.cursor,
        name=name,
        direction=attempt.direction,
        kind=kind if counts else "postponed",
        error=text,
        # Of what was only put off there are thousands in a long failure, and all of them are alike.
        traceback=error_texts.trace_of(error) if counts else "",
        counts=counts,
    )
    try:
        _store(attempt, fault, parked, wait=error.wait if isinstance(error, Postponed) else None)
    except StaleFencingToken:
        # Most likely the commit got through, and only its answer was lost.
        sometimes("commit.unanswered" if isinstance(error, DatabaseError) else "fence.refused")
        raise


def park_worn_out(attempt: Attempt) -> bool:
    """Park a saga whose attempts die before they can say why."""
    claimed = attempt.claimed
    if claimed.attempts <= attempt.most:
        return False
    assert attempt.saga is not None
    name = attempt.saga.steps[claimed.cursor].name
    error = f"{claimed.attempts - 1} attempts of {name} ended without a trace"
    fault = stops.Fault(
        step_no=claimed.cursor,
        name=name,
        direction=attempt.direction,
        kind="fault",
        error=error,
        traceback="",
    )
    _store(attempt, fault, f"{error}: workers died or froze in it")
    return True


def _store(
    attempt: Attempt, fault: stops.Fault, parked: str | None, *, wait: float | None = None
) -> None:
    claimed, saga = attempt.claimed, attempt.saga
    delay = wait or 0.0
    if parked is None and wait is None:
        policy = saga.steps[claimed.cursor].retry if saga else DEFAULT
        delay = policy.delay(claimed.attempts, base=conf.DELAY_BASE, cap=conf.DELAY_CAP)
    stops.record_fault(claimed, fault, delay=delay, parked=parked)
    failpoint("fault.committed", fault.name)
