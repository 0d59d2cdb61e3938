"""The page the admin opens with: what needs a human, what is late, what keeps failing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, F, Func, Max, Min, Sum, TextField, Value
from django.http import HttpRequest
from django.urls import reverse

from sagas import clock, measured
from sagas.admin import dead_letters, filters
from sagas.admin.attention import CONCERNS
from sagas.admin.detail import outbox_of
from sagas.admin.display import list_of
from sagas.answering import Answering
from sagas.breaker import Circuit, circuits
from sagas.contexts import contexts
from sagas.durations import duration
from sagas.ids import first_made_at
from sagas.models import DeadLetter, OperatorAction, SagaInstance, StepFault
from sagas.outbox import bell, exchange, lag, outside, slots, streaming
from sagas.outbox.lag import Behind

_SIGNATURE = Func(F("error"), Value(":"), Value(1), function="split_part", output_field=TextField())
SINCE = timedelta(hours=24)
LATE = 60.0
"""In seconds. Less than that the sweeper itself lets a row wait while the queue is not empty."""
MOST = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """One kind of thing that waits for a person."""

    title: str
    count: int
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What is not yet done, and for how long."""

    title: str
    count: int
    oldest: str
    url: str
    most: bool = False
    """There are at least so many; nobody has counted further."""
    beside: str = ""
    """What else is to be said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Attempts of one step that went wrong in the same way."""

    step: str
    direction: str
    kind: str
    signature: str
    count: int
    sagas: int
    last_at: datetime
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """Everything on the page."""

    alerts: tuple[str, ...]
    waits: tuple[Wait, ...]
    parked: tuple[SagaInstance, ...]
    backlogs: tuple[Backlog, ...]
    ended: tuple[measured.Ended, ...]
    failures: tuple[Failure, ...]
    acts: tuple[OperatorAction, ...]
    stopped: tuple[Circuit, ...]
    """Systems that are not called for now."""
    read_at: datetime


def gather(request: HttpRequest) -> Board | None:
    """Read the page for somebody who may see sagas; None for anybody else."""
    if not request.user.has_perm("sagas.view_sagainstance"):
        return None
    now = clock.real()
    there = Answering()
    groups = measured.under_way()
    human = sum(group.count if group.is_unknown else group.parked for group in groups)
    return Board(
        alerts=tuple(_alerts(there)),
        waits=tuple(_waits(request, human, there)),
        parked=tuple(_parked()) if human else (),
        backlogs=(
            _unfinished(groups),
            *_outboxes(now, there),
            *_unapplied(there),
        ),
        ended=tuple(measured.ended_lately()),
        failures=tuple(_failures(now)),
        acts=tuple(OperatorAction.objects.order_by("-id")[:MOST]),
        stopped=tuple(each for each in circuits() if each.opened_at is not None),
        read_at=now,
    )


def _unfinished(groups: list[measured.Group]) -> Backlog:
    count = sum(group.count for group in groups)
    oldest = max((group.ages[-1] for group in groups), default=None)
    late = measured.lag()
    asleep = sum(group.count for group in groups if group.waits_for != "nothing")
    said = [f"{asleep} of them asleep"] if asleep else []
    overdue = max(late.sagas, late.branches)
    if overdue >= LATE:
        said.append(f"one is overdue for {duration(timedelta(seconds=overdue))}")
    return Backlog(
        title="unfinished sagas",
        count=count,
        oldest="" if oldest is None else duration(timedelta(seconds=max(oldest, 0.0))),
        url=list_of("sagas_sagainstance", "stands=unfinished"),
        most=count >= measured.MOST,
        beside="; ".join(said),
    )


def _unapplied(there: Answering) -> Iterator[Backlog]:
    """Sum up, for each context that is behind, the events of others that it has not applied."""
    found: dict[str, list[Behind]] = {}
    for behind in lag.behind(there):
        if behind.count:
            found.setdefault(behind.consumer, []).append(behind)
    for consumer, behinds in found.items():
        oldest = max(behinds, key=attrgetter("oldest"))
        yield Backlog(
            title=f"events that {consumer} has not applied",
            count=sum(behind.count for behind in behinds),
            oldest=duration(timedelta(seconds=max(oldest.oldest, 0.0))),
            url=list_of(f"{oldest.producer}_outbox", "state=published"),
        )


def _waits(request: HttpRequest, human: int, there: Answering) -> Iterator[Wait]:
    if human:
        url = list_of("sagas_sagainstance", "stands=human")
        yield Wait(title="saga" if human == 1 else "sagas", count=human, url=url)
    letters = DeadLetter.objects.filter(dead_letters.WAITS).count()
    if letters:
        url = list_of("sagas_deadletter", "state=human")
        yield Wait(title="dead letter" if letters == 1 else "dead letters", count=letters, url=url)
    for concern in CONCERNS:
        sees = request.user.has_perm(concern.permission) and there.has(concern.context)
        if sees and (count := concern.count()):
            yield Wait(
                title=concern.one if count == 1 else concern.many, count=count, url=concern.url()
            )


def _alerts(there: Answering) -> Iterator[str]:
    """Tell what stands still although nothing is lost, in sentences."""
    yield from there.alerts
    for alias in slots.databases():
        if alias not in there.away and (trouble := slots.look(alias).trouble):
            yield f"{trouble} The relay goes on alone. See docs/outbox.md."
    for trouble in (outside.trouble(), bell.trouble(), streaming.trouble(there)):
        if trouble:
            yield trouble


def _parked() -> Any:
    unfinished = SagaInstance.objects.filter(finished_at__isnull=True)
    return unfinished.filter(filters.needs_a_human()).order_by("parked_at")[:5]


def _outboxes(now: datetime, there: Answering) -> Iterator[Backlog]:
    for context in there.among(contexts()):
        yield _outbox(f"unsent events of {context}", context, now, published_at__isnull=True)
        if exchange.is_on():
            yield _outbox(f"events of {context} for the outside", context, now, outside_due=True)


def _outbox(title: str, context: str, now: datetime, **unsent: bool) -> Backlog:
    waiting = outbox_of(context)._default_manager.filter(**unsent)
    found = waiting.aggregate(count=Count("position"), oldest=Min("created_at"))
    return Backlog(
        title=title,
        count=found["count"],
        oldest=_since(found["oldest"], now),
        url=list_of(f"{context}_outbox", "state=unsent"),
    )


def _since(oldest: datetime | None, now: datetime) -> str:
    return "" if oldest is None else duration(max(now - oldest, timedelta(0)))


def _failures(now: datetime) -> Iterator[Failure]:
    """Group the faults of the last day by step and by what stands before the error's colon."""
    rows = (
        # Ids carry the time they were made at, so the primary key finds the day.
        StepFault.objects.filter(id__gte=first_made_at(now - SINCE))
        .annotate(signature=_SIGNATURE)
        .values("name", "direction", "kind", "signature")
        .annotate(count=Sum("times"), sagas=Count("saga_id", distinct=True), last=Max("at"))
        .order_by("-count", "name")
    )
    for row in rows[: MOST + 5]:
        query = urlencode({"fault": f"{row['name']}|{row['signature']}"})
        yield Failure(
            step=row["name"],
            direction=row["direction"],
            kind=row["kind"],
            signature=row["signature"],
            count=row["count"],
            sagas=row["sagas"],
            last_at=row["last"],
            url=f"{reverse('admin:sagas_sagainstance_changelist')}?{query}",
        )
