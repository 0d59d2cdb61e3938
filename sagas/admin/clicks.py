"""What was told under one correlation id: the timeline's rows, and what is not in it.

The timeline is fed by deliveries, and it is looked at when those stand still. So what the outboxes
have and it has not is shown with the rest, and said to be missing there.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db.models import F

from sagas.admin.display import absolute
from sagas.answering import Answering
from sagas.contexts import contexts
from sagas.models import TimelineRow
from sagas.projections.lag import Noted, noted_of
from sagas.projections.timeline import timeline

MOST = 500
"""Rows of the timeline that are shown."""
LOOKED = 1000
"""Rows of each outbox that are looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldEvent:
    """An event, wherever it was found."""

    id: UUID
    at: datetime
    context: str
    name: str
    version: int
    aggregate_type: str
    aggregate_id: UUID
    sequence: int
    actor: str
    cause: str
    sentence: str
    """Empty where only the outbox has it."""
    is_missing: bool
    """There is a timeline that hears of such events, and this one is not in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Click:
    """The events of a correlation id, the earliest first, and how fresh the timeline is."""

    events: tuple[ToldEvent, ...]
    freshness: str


Told = list[tuple[str, Any]]


def told_under(correlation_id: str, there: Answering) -> Told:
    """Return the outbox rows of a correlation id, each with its context, the earliest first.

    Where there are more than are looked at, what is not settled goes before the rest: it is what a
    timeline may lack. One more is read, to know that there are.
    """
    found = [
        (context, row)
        for context in there.among(contexts())
        for row in apps.get_model(context, "Outbox")
        ._default_manager.filter(correlation_id=correlation_id)
        .defer("payload")
        .order_by(F("settled_at").asc(nulls_first=True), "position")[: LOOKED + 1]
    ]
    return sorted(found, key=lambda pair: (pair[1].created_at, pair[1].position))


def click_of(correlation_id: str, told: Told, there: Answering) -> Click:
    """Return what was told under a correlation id.

    :param told: the outbox rows that have it; read before the timeline is, so that what is applied
        in between is not called missing
    :param there: says which databases can be asked
    """
    kept = timeline()
    if kept is None or not there.has(kept.context):
        whole = (_from_outbox(context, row, is_missing=False) for context, row in told)
        events = tuple(sorted(whole, key=lambda event: event.at))
        return Click(events=events, freshness=" ".join((*there.alerts, *_limits(told))))
    recent = {row.id: (context, row) for context, row in told}
    table: Any = kept.into._default_manager
    rows = list(table.filter(correlation_id=correlation_id).order_by("at")[: MOST + 1])
    is_cut = len(rows) > MOST
    if is_cut:
        rows += table.filter(event_id__in=list(recent))
    found = {row.event_id: row for row in rows}
    others = [pair for key, pair in recent.items() if key not in found]
    events = (
        *(_from_timeline(row) for row in found.values()),
        # What a context asks of the engine is in its outbox as well, and is no event of a timeline.
        *(_from_outbox(*pair, is_missing=pair[1].type in kept.names) for pair in others),
    )
    return Click(
        events=tuple(sorted(events, key=lambda event: event.at)),
        freshness=" ".join(
            (
                *there.alerts,
                *_freshness(noted_of(kept), sum(one.is_missing for one in events)),
                *_limits(told, kept.name if is_cut else ""),
            )
        ),
    )


def _freshness(noted: Noted, missing: int) -> Iterator[str]:
    if noted.as_of is None:
        yield f"No tick has looked yet how far {noted.name} has come."
    else:
        yield f"Events up to {absolute(noted.as_of)} are in {noted.name}."
    if missing == 1:
        yield "Of the events below 1 is not in it: it is read from its outbox."
    elif missing:
        yield f"Of the events below {missing} are not in it: they are read from their outboxes."
    if noted.is_out_of_date:
        remedy = f"manage.py projections rebuild {noted.name}"
        yield f"{noted.name} lacks what was told before it: {remedy}"


def _limits(told: Told, cut: str = "") -> Iterator[str]:
    """Say what may be missing on the page."""
    if cut:
        yield f"Of {cut} the first {MOST} are shown, and those that an outbox still has."
    most = max(Counter(context for context, _ in told).values(), default=0)
    if most > LOOKED:
        yield f"Of each outbox no more than {LOOKED} were looked at, those that wait first."


def _from_timeline(row: TimelineRow) -> ToldEvent:
    return ToldEvent(
        id=row.event_id,
        at=row.at,
        context=row.context,
        name=row.name,
        version=row.version,
        aggregate_type=row.aggregate_type,
        aggregate_id=row.aggregate_id,
        sequence=row.sequence,
        actor=row.actor or "",
        cause=row.causation_id or "",
        sentence=row.sentence,
        is_missing=False,
    )


def _from_outbox(context: str, row: Any, *, is_missing: bool) -> ToldEvent:
    return ToldEvent(
        id=row.id,
        at=row.created_at,
        context=context,
        name=row.type,
        version=row.version,
        aggregate_type=row.aggregatetype,
        aggregate_id=row.aggregateid,
        sequence=row.sequence,
        actor=row.actor or "",
        cause=row.causation_id or "",
        sentence="",
        is_missing=is_missing,
    )
