"""What came of one click, hop by hop and in order: sagas, steps, faults, events and who heard them.

Events come from the timeline and, what is not in it, from the outboxes (``clicks.py``); the rest is
read from the rows that each of them left, by indexes, since nothing is told of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.apps import apps

from sagas.admin.clicks import ToldEvent
from sagas.answering import Answering
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


def hops_of(correlation_id: str, told: Iterable[ToldEvent], there: Answering) -> tuple[Hop, ...]:
    """Return what is known of everything that one click has led to, the earliest first.

    :param told: the events with this correlation id
    :param there: says which databases can be asked
    """
    found = [*_of_sagas(correlation_id), *_of_events(told, there)]
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


def _of_events(told: Iterable[ToldEvent], there: Answering) -> Iterator[Hop]:
    events = {event.id: event for event in told}
    for event in events.values():
        what = f"{event.name} #{event.sequence}"
        yield Hop(at=event.at, context=event.context, kind="event", what=what)
    for context in there.among(contexts()):
        inbox = apps.get_model(context, "Inbox")._default_manager
        for row in inbox.filter(consumer=context, event_id__in=events):
            what = f"{row.type} #{events[row.event_id].sequence}"
            yield Hop(at=row.applied_at, context=context, kind="heard", what=what)
    for letter in DeadLetter.objects.filter(event_id__in=events):
        what = f"{letter.event_name} #{letter.sequence}: {letter.reason}"
        yield Hop(at=letter.first_at, context=letter.context, kind="dead letter", what=what)
