"""How a saga stands, in words: the step under its cursor, and one plain sentence."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sagas import clock
from sagas.core.definition import Kind, Saga, Step
from sagas.durations import duration, relative
from sagas.models import RunState, SagaInstance, Status, StepFault, StepRun
from sagas.orchestration import handover, locks, versions
from sagas.orchestration.asleep import Wait

OUTCOMES = {"unknown": "has an answer missing", "postponed": "was put off"}
"""What is said of the attempts that did not end well, by their kind; of others that they failed."""


def definition_of(saga: SagaInstance) -> Saga[Any] | None:
    """Return the definition that a saga follows, or None if this release does not know it."""
    return versions.found(saga)


def step_under_cursor(saga: SagaInstance) -> Step[Any] | None:
    """Return the step that a saga stands at; None when it has ended."""
    definition = definition_of(saga)
    if saga.finished_at is not None or definition is None:
        return None
    return definition.steps[saga.cursor] if 0 <= saga.cursor <= definition.last else None


def group_under_cursor(saga: SagaInstance) -> list[str]:
    """Return the branches of the group that a saga is in; none where it is in no group."""
    definition = definition_of(saga)
    if definition is None or saga.status != Status.RUNNING or not saga.pending:
        return []
    return [definition.steps[number].name for number in definition.branches(saga.cursor)]


def step_text(saga: SagaInstance) -> str:
    """Return the current step and how many there are, like ``3/8 capture_payment``.

    Of a group all of its branches, and how many are left: ``2-4/8 pack, weigh, print (1 left)``.
    """
    if saga.finished_at is not None:
        return ""
    beside = group_under_cursor(saga)
    if beside:
        where = f"{saga.cursor + 1}-{saga.cursor + len(beside)}/{saga.last_step + 1}"
        return f"{where} {', '.join(beside)} ({saga.pending} left)"
    step = step_under_cursor(saga)
    return f"{saga.cursor + 1}/{saga.last_step + 1} {step.name if step else 'unknown here'}"


def word(saga: SagaInstance) -> str:
    """Return the one word of a saga's chip."""
    if saga.parked_at is not None:
        return "parked"
    if saga.waiting_for is not None and saga.finished_at is None:
        return "waiting"
    if saga.status == Status.RUNNING and saga.not_before is not None:
        return "retrying"
    return str(saga.status)


def border_number(definition: Saga[Any] | None) -> int | None:
    """Return the number of the step that is the point of no return, if there is one."""
    if definition is None:
        return None
    for number, step in enumerate(definition.steps):
        if step.kind in {Kind.PIVOT, Kind.RETRIABLE}:
            return number
    return None


def border_name(definition: Saga[Any] | None) -> str:
    """Return the name of the step that is the point of no return."""
    number = border_number(definition)
    return definition.steps[number].name if definition and number is not None else ""


def sentence(
    saga: SagaInstance,
    faults: Sequence[StepFault],
    now: datetime,
    runs: Sequence[StepRun] = (),
    wait: Wait | None = None,
) -> str:
    """Return in plain words where a saga stands, why, and what happens next."""
    if saga.finished_at is not None:
        return _ended(saga)
    sleeps = wait is not None and not handover.is_lock(saga.waiting_for)
    if wait is not None and sleeps and saga.parked_at is None and not _is_held(saga, now):
        return f"It {wait.words}. {_way_back(saga)}"
    return f"{_under_way(saga, faults, now, runs)}{_beside(saga, runs, now)} {_way_back(saga)}"


def _beside(saga: SagaInstance, runs: Sequence[StepRun], now: datetime) -> str:
    """Return how each branch of the group under the cursor stands."""
    names = group_under_cursor(saga)
    here = [run for run in runs if run.direction == "do" and run.name in names]
    return "".join(f" {run.name} {_branch(run, now)}." for run in here)


def _branch(run: StepRun, now: datetime) -> str:
    if run.due_at is None:
        return "was skipped" if run.state == RunState.SKIPPED else f"is {run.state}"
    if run.leased_until is not None and run.leased_until > now:
        return f"is being carried out now; the lease ends {_at(run.leased_until, now)}"
    again = f", {run.attempts} times begun" if run.attempts else ""
    if run.not_before is not None:
        return f"waits{again}; next attempt {_at(run.not_before, now)}"
    return f"is due{again}; the sweeper looks again {_at(run.due_at, now)}"


def _is_held(saga: SagaInstance, now: datetime) -> bool:
    return saga.leased_until is not None and saga.leased_until > now


def _ended(saga: SagaInstance) -> str:
    assert saga.finished_at is not None
    took = duration(saga.finished_at - saga.started_at)
    if saga.status == Status.COMPLETED:
        return f"Completed in {took}: every step is done."
    return f"Compensated after {took}, {_why(saga)}: whatever had been done is undone."


def _why(saga: SagaInstance) -> str:
    if saga.failure == "deadline" and saga.failed_step:
        return f"because the time for its step {saga.failed_step} was over"
    if saga.failure == "deadline":
        return "because its deadline passed before the point of no return"
    where = f" at {saga.failed_step}" if saga.failed_step else ""
    who = f" by {saga.canceled_by}" if saga.canceled_by else ""
    return f"because of “{saga.failure}”{where}{who}"


def _under_way(
    saga: SagaInstance, faults: Sequence[StepFault], now: datetime, runs: Sequence[StepRun]
) -> str:
    step = step_under_cursor(saga)
    name = step.name if step else f"number {saga.cursor + 1}"
    if definition_of(saga) is None:
        return (
            f"No release that runs here knows {saga.name} version {saga.def_version}: a worker"
            " with that definition has to be started before it goes on."
        )
    if saga.parked_at is not None:
        said = f"Parked {relative(saga.parked_at, now)} at step {name}: {saga.parked_reason}."
        late = _time_for_it(saga) if saga.past_return else ""
        return f"{said}{late} {_until_somebody_acts(saga)}"
    if handover.is_lock(saga.waiting_for):
        return f"Waits for its turn: {locks.words_for(str(saga.waiting_for))}."
    beside = group_under_cursor(saga)
    if beside:
        return f"{saga.pending} of {len(beside)} steps that run side by side are left."
    what = f"Step {name}" if saga.status == Status.RUNNING else f"Undoing step {name}"
    progress = _progress(saga, _faults_here(saga, faults), now)
    return f"{what} {progress}{_heard(saga, runs)}{_time_for_it(saga)}"


def _heard(saga: SagaInstance, runs: Sequence[StepRun]) -> str:
    """Return what the step under the cursor said last, while it was called."""
    direction = "do" if saga.status == Status.RUNNING else "undo"
    said = [
        run.detail
        for run in runs
        if (run.step_no, run.direction) == (saga.cursor, direction) and run.detail is not None
    ]
    return f" Its last heartbeat said {json.dumps(said[0])}." if said else ""


def _time_for_it(saga: SagaInstance) -> str:
    """Return until when a saga may stand at its step, or since when it is late there."""
    if saga.step_deadline_at is None:
        return ""
    now = clock.now()
    when = relative(saga.step_deadline_at, now)
    if saga.step_deadline_at <= now:
        return f" It is late: the time for this step was over {when}."
    then = "" if saga.past_return else " and it turns round"
    return f" The time for this step is over {when}{then}."


def _until_somebody_acts(saga: SagaInstance) -> str:
    if saga.status == Status.COMPENSATING or not saga.may_turn:
        return "Nothing happens until a person acts."
    until = _at(min(filter(None, (saga.deadline_at, saga.step_deadline_at))), clock.now())
    return f"Nothing happens until a person acts, or its deadline compensates it {until}."


def _faults_here(saga: SagaInstance, faults: Sequence[StepFault]) -> list[StepFault]:
    direction = "do" if saga.status == Status.RUNNING else "undo"
    return [
        fault
        for fault in faults
        if (fault.step_no, fault.direction) == (saga.cursor, direction) and fault.kind != "rejected"
    ]


def _progress(saga: SagaInstance, faults: Sequence[StepFault], now: datetime) -> str:
    history = ""
    if faults:
        last = faults[-1]
        count = sum(fault.times for fault in faults)
        times = "once" if count == 1 else f"{count} times"
        outcome = OUTCOMES.get(last.kind, "failed")
        history = f"{outcome} ({times}), last {relative(last.at, now)}: {last.error}; "
    if saga.leased_until is not None and saga.leased_until > now:
        return f"{history}is being carried out now; the lease ends {_at(saga.leased_until, now)}."
    if saga.not_before is not None:
        return f"{history}next attempt {_at(saga.not_before, now)}."
    if saga.due_at is not None:
        return f"{history}is due; the sweeper looks again {_at(saga.due_at, now)}."
    return f"{history}waits."


def _at(instant: datetime, now: datetime) -> str:
    return relative(instant, now) if instant > now else "any moment now"


def _way_back(saga: SagaInstance) -> str:
    pivot = border_name(definition_of(saga))
    if saga.status == Status.COMPENSATING:
        left = saga.cursor + 1
        return f"It compensates, {_why(saga)}; {left} of {saga.last_step + 1} steps are left."
    if not saga.may_turn:
        return f"It is past the point of no return ({pivot}) and only goes forward."
    if not pivot:
        return "Whatever has been done can still be undone."
    return f"The point of no return ({pivot}) is not reached: all of it can still be undone."
