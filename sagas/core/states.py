"""The states of a saga and of a step run and the moves between them, as data.

The statements in ``orchestration/store.py`` and ``stops.py`` carry the moves out; this is what
they amount to, for the document and for whoever checks them.
"""

from collections.abc import Mapping
from enum import StrEnum


class SagaState(StrEnum):
    """Where a saga stands; parked is a stop inside one of the first two."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


class RunOutcome(StrEnum):
    """What is known of one step in one direction."""

    PENDING = "pending"
    INTENDED = "intended"
    DONE = "done"
    REJECTED = "rejected"
    CANCELED = "canceled"
    NOTHING = "nothing"
    SKIPPED = "skipped"


SAGA_TRANSITIONS: Mapping[SagaState, frozenset[SagaState]] = {
    SagaState.RUNNING: frozenset({SagaState.COMPLETED, SagaState.COMPENSATING}),
    SagaState.COMPENSATING: frozenset({SagaState.COMPENSATED}),
    SagaState.COMPLETED: frozenset(),
    SagaState.COMPENSATED: frozenset(),
}

RUN_TRANSITIONS: Mapping[RunOutcome, frozenset[RunOutcome]] = {
    RunOutcome.PENDING: frozenset(
        {
            RunOutcome.INTENDED,
            RunOutcome.DONE,
            RunOutcome.REJECTED,
            RunOutcome.CANCELED,
            RunOutcome.SKIPPED,
        }
    ),
    RunOutcome.INTENDED: frozenset(
        {RunOutcome.DONE, RunOutcome.REJECTED, RunOutcome.CANCELED, RunOutcome.SKIPPED}
    ),
    RunOutcome.DONE: frozenset(),
    RunOutcome.REJECTED: frozenset(),
    RunOutcome.CANCELED: frozenset(),
    RunOutcome.NOTHING: frozenset(),
    RunOutcome.SKIPPED: frozenset(),
}
