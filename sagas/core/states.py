"""The states of a saga, of a step run and of a watched flow and the moves between them, as data.

The statements in ``orchestration/store.py`` and ``stops.py``, and for flows those of the package
``choreography``, carry the moves out; this is what they amount to, for the document and for whoever
checks them.
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


class FlowState(StrEnum):
    """Where an instance of a choreography stands; parked is a stop inside one of the first two."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    CLOSED = "closed"


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

FLOW_TRANSITIONS: Mapping[FlowState, frozenset[FlowState]] = {
    FlowState.RUNNING: frozenset({FlowState.COMPLETED, FlowState.COMPENSATING, FlowState.CLOSED}),
    FlowState.COMPENSATING: frozenset({FlowState.COMPENSATED, FlowState.CLOSED}),
    FlowState.COMPLETED: frozenset(),
    FlowState.COMPENSATED: frozenset(),
    FlowState.CLOSED: frozenset(),
}
