"""The timeline: a projection with a row for each event, which the operators' pages read."""

from sagas.core.commands import context_of
from sagas.models.projection import TimelineRow
from sagas.outbox.subscriptions import current_event
from sagas.projections.declaring import PROJECTIONS, Projection, Put


def timeline_row(sentence: str) -> Put:
    """Return what the event that is being handled puts into a timeline.

    :param sentence: what it says, in words
    """
    event = current_event()
    return Put(
        event.event_id,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        at=event.recorded_at,
        context=context_of(event.name),
        name=event.name,
        version=event.version,
        aggregate_type=event.aggregate_type,
        aggregate_id=event.aggregate_id,
        sequence=event.sequence,
        actor=event.actor,
        sentence=sentence,
    )


def timeline() -> Projection | None:
    """Return the projection that is a timeline, if a context keeps one."""
    return next((one for one in PROJECTIONS.values() if issubclass(one.into, TimelineRow)), None)
