"""What came of one click, hop by hop and in order: sagas, steps, faults, events and who heard them.

Read from the rows that each of them left, by indexes, and kept nowhere: an operator looks at one
click at a time, mostly when deliveries stand still, and a table fed by deliveries would stand
still with them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps

from sagas.contexts import contexts
from sagas.models import DeadLetter, SagaInstance, StepFault, StepRun

MOST = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Hop:
    """One thing that happened."""

    at: datetime
    context: str
    kind: str
    """saga, step, fault, event, heard or dead letter."""
    what: str


def hops_of(correlation_id: str, told: Iterable[tuple[str, Any]]) -> tuple[Hop, ...]:
    """Return what is known of everything that one click has led to, the earliest first.

    :param told: the outbox rows with this correlation id, each with its context
    """
    found = [*_of_sagas(correlation_id), *_of_events(told)]
    return tuple(sorted(found, key=lambda hop: hop.at)[:MOST])


def _of_sagas(correlation_id: str) -> Iterator[Hop]:
    sagas = {
        saga.id: saga for saga in SagaInstance.objects.filter(correlation_id=correlation_id)[:MOST]
    }
    for saga in sagas.values():
        context = saga.name.partition(".")[0]
        yield Hop(at=saga.started_at, context=context, kind="saga", what=f"{saga.name} began")
        if saga.finished_at is not None:
            what = f"{saga.name} ended: {saga.status}"
            yield Hop(at=saga.finished_at, context=context, kind="saga", what=what)
    for run in StepRun.objects.filter(saga_id__in=sagas).order_by("committed_at")[:MOST]:
        what = f"{run.name} {run.direction}: {run.state}"
        yield Hop(at=run.committed_at, context=run.context, kind="step", what=what)
    for fault in StepFault.objects.filter(saga_id__in=sagas).order_by("at")[:MOST]:
        times = f", {fault.times} times" if fault.times > 1 else ""
        what = f"{fault.name} {fault.direction}: {fault.kind}{times}"
        context = sagas[fault.saga_id].name.partition(".")[0]
        yield Hop(at=fault.at, context=context, kind="fault", what=what)


def _of_events(told: Iterable[tuple[str, Any]]) -> Iterator[Hop]:
    rows: dict[UUID, Any] = {}
    for context, row in told:
        rows[row.id] = row
        what = f"{row.type} #{row.sequence}"
        yield Hop(at=row.created_at, context=context, kind="event", what=what)
    for context in contexts():
        inbox = apps.get_model(context, "Inbox")._default_manager
        for row in inbox.filter(consumer=context, event_id__in=rows):
            what = f"{row.type} #{rows[row.event_id].sequence}"
            yield Hop(at=row.applied_at, context=context, kind="heard", what=what)
    for letter in DeadLetter.objects.filter(event_id__in=rows):
        what = f"{letter.event_name} #{letter.sequence}: {letter.reason}"
        yield Hop(at=letter.first_at, context=letter.context, kind="dead letter", what=what)
