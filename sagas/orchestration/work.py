"""What a step run needs in either direction: its row, its intent, its call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagas import clock
from sagas.conf import conf
from sagas.core.definition import Kind, Saga, Step
from sagas.core.errors import SagasError
from sagas.core.keys import Direction, effect_key
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import branch_rows, store
from sagas.orchestration.handlers import calls_out
from sagas.orchestration.run import RUN, Run
from sagas.orchestration.store import Claim, Entry, Target
from sagas.spans import span
from sagas.transactions import ENGINE, in_one_database, is_detached, outside_transaction


class Waiting(SagasError):
    """The saga sleeps until something happens; the commit that says so has ended the link."""


class CannotReject(SagasError):
    """A step after the point of no return, or a compensation, was rejected: it must succeed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is needed to run the step under a saga's cursor."""

    saga: Saga[Any]
    claimed: Claim
    state: Any
    keeps_lease: Callable[[], bool]
    turns_here: Callable[[int], bool] = lambda _: False
    """Whether a rejection leaves the saga with this worker, which undoes it from there at once."""
    forward: RunState | None = None
    """On the way back: what this very worker has committed as the forward run, if it has."""

    @property
    def number(self) -> int:
        """Return the step's number."""
        return self.claimed.cursor

    @property
    def step(self) -> Step[Any]:
        """Return the step's definition."""
        return self.saga.steps[self.number]

    @property
    def context(self) -> str:
        """Return the context that carries the step out: the engine, where it only waits."""
        context = self.saga.contexts[self.number]
        forward = self.claimed.status == Status.RUNNING
        waits = self.step.awaits is not None and (forward or self.step.undo is None)
        return ENGINE if waits and is_detached(context) else context

    @property
    def group(self) -> int | None:
        """Return the group whose branch this is; None on the way back, where there are none."""
        return self.step.group if self.claimed.status == Status.RUNNING else None

    def may_defer(self, direction: Direction) -> bool:
        """Return whether the step's commit may reach the disk together with the next one's.

        See Note [Not every step waits for the disk] in ``commits.py``.
        """
        if conf.EVERY_STEP_TO_DISK or not in_one_database():
            return False
        return not calls_out(self.saga, self.number, direction)

    @property
    def place(self) -> str:
        """Return the step as failpoints name it: ``undo.`` before the name on the way back."""
        back = self.claimed.status == Status.COMPENSATING
        return f"undo.{self.step.name}" if back else self.step.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What a committed step leaves behind."""

    cursor: int
    past_return: bool
    state: Any
    kept_lease: bool
    at: datetime
    run: RunState
    """What the step run came to."""
    rejected: str | None = None
    """Why the saga has turned round, where it has."""
    step_deadline_at: datetime | None = None
    """Until when the saga may stand at the step it has come to."""


def write_intent(work: Work, direction: Direction) -> None:
    """Mark the step as about to call, as the last statement of the intent's transaction."""
    if work.group is not None:
        branch_rows.intend(work.claimed, work.group, work.context)
        failpoint("intent.before_commit", work.place)
        return
    is_pivot = work.step.kind is Kind.PIVOT and direction is Direction.DO
    target = Target(
        status=work.claimed.status,
        cursor=work.number,
        past_return=work.claimed.past_return or is_pivot,
        keep_lease=True,
    )
    store.move(work.claimed, entry(work, direction, RunState.INTENDED), target)
    failpoint("intent.before_commit", work.place)


def call_out(
    work: Work,
    function: Callable[[Any, Any], Any] | None,
    command: Any,
    intent: Any,
    place: str = "call.returned",
) -> Any:
    """Call another system, with no transaction open."""
    assert function is not None
    outside_transaction()
    with span(f"call {work.step.name}", "client", step=work.step.name):
        outcome = function(command, intent)
    failpoint(place, work.place)
    return outcome


def done(target: Target, state: Any, run: RunState) -> Done:
    """Return what the commit to a target leaves behind."""
    return Done(
        cursor=target.cursor,
        past_return=target.past_return,
        state=state,
        kept_lease=target.keep_lease,
        at=clock.real(),
        run=run,
        rejected=target.failure,
        step_deadline_at=target.step_deadline_at,
    )


def entry(work: Work, direction: Direction, state: RunState, reply: Any = None) -> Entry:
    """Return the journal row of this step run."""
    return Entry(
        step_no=work.number,
        name=work.step.name,
        context=work.context,
        direction=direction,
        state=state,
        started_at=work.claimed.claimed_at,
        reply=reply,
    )


@contextmanager
def running(work: Work, direction: Direction) -> Iterator[None]:
    """Let handlers inside the block know what they run for."""
    claimed = work.claimed
    token = RUN.set(
        Run(
            saga_id=claimed.saga_id,
            saga_name=claimed.name,
            step=work.step.name,
            step_no=work.number,
            direction=direction,
            effect_key=effect_key(claimed.saga_id, work.step.name, direction),
            attempts=claimed.attempts,
            correlation_id=claimed.correlation_id,
            failure=claimed.failure,
            canceled_by=claimed.canceled_by,
            token=claimed.token,
            group=work.group,
        )
    )
    # Every attempt is a child of what caused the saga, none of the attempt before it.
    named = f"{claimed.name} {work.step.name}"
    try:
        with span(named, saga=claimed.name, direction=direction, attempt=claimed.attempts):
            yield
    finally:
        RUN.reset(token)
