"""Everything on the page of one saga, read in a fixed number of queries."""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import Model

from sagas import clock
from sagas.admin import timeline
from sagas.admin.clicks import Told, click_of, told_under
from sagas.admin.display import pretty_json
from sagas.admin.hops import MOST as MOST_HOPS
from sagas.admin.hops import Hop, hops_of
from sagas.answering import Answering
from sagas.durations import duration
from sagas.models import DeadLetter, OperatorAction, SagaInstance, StepFault, StepRun
from sagas.orchestration.asleep import wait_of
from sagas.standing import definition_of, sentence, step_text, word

MOST_EVENTS = 150
MOST_FAULTS = 200


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table beneath the picture."""

    number: int
    name: str
    kind: str
    context: str
    direction: str
    run: StepRun | None
    attempts: int
    took: str
    faults: tuple[StepFault, ...]

    @property
    def fault_count(self) -> int:
        """Return how often it did not end well."""
        return sum(fault.times for fault in self.faults)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LinkedEvent:
    """An outbox row that the saga, or what started it, wrote."""

    context: str
    row: Any
    state: str
    letters: tuple[DeadLetter, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What the template shows."""

    saga: SagaInstance
    word: str
    step: str
    sentence: str
    picture: timeline.Picture
    table: tuple[Row, ...]
    faults: tuple[StepFault, ...]
    has_more_faults: bool
    """There may be earlier ones."""
    events: tuple[LinkedEvent, ...]
    hops: tuple[Hop, ...]
    has_more_hops: bool
    """There may be later ones."""
    freshness: str
    """Of the timeline that the events among the hops come from."""
    tasks: tuple[Any, ...]
    acts: tuple[OperatorAction, ...]
    raw: str


def gather(saga: SagaInstance) -> Page:
    """Read what belongs to a saga."""
    now = clock.real()
    runs = list(StepRun.objects.filter(saga_id=saga.id).order_by("committed_at", "id"))
    faults = _latest_faults(saga)
    acts = list(
        OperatorAction.objects.filter(target_type="saga", target_id=str(saga.id)).order_by("id")
    )
    there = Answering()
    told = told_under(saga.correlation_id, there)
    click = click_of(saga.correlation_id, told, there)
    hops = hops_of(saga.correlation_id, click.events, there)
    return Page(
        saga=saga,
        word=word(saga),
        step=step_text(saga),
        sentence=sentence(saga, faults, now, runs, wait_of(saga)),
        picture=timeline.draw(saga, runs, faults, acts, now),
        table=tuple(_table(saga, runs, faults)),
        faults=tuple(faults),
        has_more_faults=len(faults) == MOST_FAULTS,
        events=_events(told),
        hops=hops,
        has_more_hops=len(hops) == MOST_HOPS,
        freshness=click.freshness,
        tasks=_tasks({*(run.task_id for run in runs), *(fault.task_id for fault in faults)} - {""}),
        acts=tuple(acts),
        raw=pretty_json(
            {
                "saga": _values(saga),
                "runs": [_values(run) for run in runs],
                "faults": [_values(fault) for fault in faults],
                "operator_actions": [_values(act) for act in acts],
            }
        ),
    )


def _latest_faults(saga: SagaInstance) -> list[StepFault]:
    """Return what went wrong, oldest first; resumed again and again there may be much of it."""
    found = StepFault.objects.filter(saga_id=saga.id).order_by("-at", "-id")
    return list(found[:MOST_FAULTS])[::-1]


def _table(
    saga: SagaInstance, runs: Sequence[StepRun], faults: Sequence[StepFault]
) -> Iterator[Row]:
    """Return the runs in their order, then the steps that have none yet."""
    definition = definition_of(saga)
    kinds = [step.kind.value for step in definition.steps] if definition else []
    for run in runs:
        took = run.committed_at - run.started_at if run.started_at else timedelta(0)
        here = _of_run(faults, run.step_no, run.direction)
        yield Row(
            number=run.step_no + 1,
            name=run.name,
            kind=kinds[run.step_no] if run.step_no < len(kinds) else "",
            context=run.context,
            direction=run.direction,
            run=run,
            attempts=1 + len([f for f in here if f.kind not in {"rejected", "postponed"}]),
            took=duration(took),
            faults=here,
        )
    seen = {run.step_no for run in runs}
    for number, step in enumerate(definition.steps if definition else ()):
        if number not in seen:
            yield Row(
                number=number + 1,
                name=step.name,
                kind=step.kind.value,
                context=definition.contexts[number] if definition else "",
                direction="do",
                run=None,
                attempts=0,
                took="",
                faults=_of_run(faults, number, "do"),
            )


def _of_run(faults: Sequence[StepFault], step_no: int, direction: str) -> tuple[StepFault, ...]:
    return tuple(f for f in faults if (f.step_no, f.direction) == (step_no, direction))


def _events(told: Told) -> tuple[LinkedEvent, ...]:
    rows = told[:MOST_EVENTS]
    letters: dict[UUID, list[DeadLetter]] = {}
    if rows:
        for letter in DeadLetter.objects.filter(event_id__in=[row.id for _, row in rows]):
            letters.setdefault(letter.event_id, []).append(letter)
    return tuple(
        LinkedEvent(
            context=context,
            row=row,
            state=outbox_state(row),
            letters=tuple(letters.get(row.id, ())),
        )
        for context, row in rows
    )


def outbox_of(context: str) -> type[Any]:
    """Return the outbox table of a context."""
    return apps.get_model(context, "Outbox")


def outbox_state(row: Any) -> str:
    """Return how far an event has come."""
    if row.published_at is None:
        return "unsent"
    return "settled" if row.settled_at is not None else "published"


def kept_results() -> type[Any] | None:
    """Return the table in which Celery keeps what went wrong, where a project has it."""
    installed = apps.is_installed("django_celery_results")
    return apps.get_model("django_celery_results", "TaskResult") if installed else None


def _tasks(task_ids: set[str]) -> tuple[Any, ...]:
    results = kept_results()
    if not task_ids or results is None:
        return ()
    found = results.objects.filter(task_id__in=task_ids).order_by("date_created")
    return tuple(found.only("id", "task_id", "task_name", "status", "worker", "date_done"))


def _values(row: Model) -> dict[str, Any]:
    return {field.name: getattr(row, field.attname) for field in row._meta.concrete_fields}
