"""What a saga sleeps for, since when and until when, in words for people."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sagas.core.definition import Step
from sagas.core.waits import Otherwise, SignalAwaited
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import RunState, StepRun
from sagas.orchestration import registry


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A saga that sleeps until something happens."""

    what: str
    """As its row says it: ``signal:``, ``timer:``, ``child:`` or ``lock:`` and a name."""
    since: datetime
    """When the step before was committed, or the saga was started."""
    until: datetime | None
    """When the wait ends by itself, in business time; None if only the deadline ends it."""
    words: str
    """The same in a sentence."""


def wait_of(saga: SagaInstance) -> Wait | None:
    """Return what a saga sleeps for; None if it does not."""
    if saga.waiting_for is None:
        return None
    since = (
        StepRun.objects.filter(saga_id=saga.id)
        .exclude(step_no=saga.cursor, state=RunState.INTENDED)
        .order_by("-committed_at")
        .values_list("committed_at", flat=True)
        .first()
    ) or saga.started_at
    return Wait(
        what=saga.waiting_for,
        since=since,
        until=saga.wait_until,
        words=f"{_what(saga)}, since {_said(since)}{_until(saga)}",
    )


def _what(saga: SagaInstance) -> str:
    kind, _, name = str(saga.waiting_for).partition(":")
    if kind == "signal":
        return f"waits for the signal {name}"
    if kind == "timer":
        return f"lets time pass ({name})"
    if kind == "child":
        return f"waits for its child ({name}){_child(saga)}"
    return f"waits for the {kind} {name}"


def _child(saga: SagaInstance) -> str:
    row = SagaInstance.objects.filter(parent_id=saga.id, parent_step=saga.cursor).first()
    return f": {row.name} {row.id}, which is {row.status}" if row else ""


def _until(saga: SagaInstance) -> str:
    if saga.wait_until is not None:
        return f", until {_said(saga.wait_until)}{_then(saga)}"
    if saga.status == Status.RUNNING and saga.may_turn:
        return f", at the longest until its deadline, {_said(saga.deadline_at)}"
    return ""


def _then(saga: SagaInstance) -> str:
    awaits = getattr(_step(saga), "awaits", None)
    if not isinstance(awaits, SignalAwaited):
        return "; then it goes on"
    return (
        "; then it goes on without it"
        if awaits.otherwise is Otherwise.GO_ON
        else "; then it compensates"
    )


def _step(saga: SagaInstance) -> Step[object] | None:
    definition = registry.SAGAS.get((saga.name, saga.def_version))
    inside = definition is not None and 0 <= saga.cursor <= definition.last
    return definition.steps[saga.cursor] if definition is not None and inside else None


def _said(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
