"""All hops of one correlation id in their order, from the click to the last message."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from sagas.admin.clicks import ToldEvent, click_of, told_under
from sagas.admin.past import past_url
from sagas.answering import Answering
from sagas.contexts import contexts
from sagas.models import DeadLetter, SagaInstance, StepFault, StepRun, WatchedFlow
from sagas.models.step_run import RunState
from sagas.outbox.subscriptions import readers_of

MOST = 200
"""Rows of each table that are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """One thing that happened on the way."""

    at: datetime
    kind: str
    context: str
    text: str
    url: str = ""
    cause: str = ""
    """The id of what caused it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What a correlation id has led to, as far as the engine knows; contexts add to it."""

    correlation_id: str
    sagas: tuple[SagaInstance, ...]
    subjects: frozenset[UUID]
    """What the sagas and the events are about: the orders, say."""
    traceparent: str
    passages: tuple[Passage, ...]
    freshness: str
    """Of the timeline that the events come from; empty where no context keeps one."""


Source = Callable[[Story], Iterable[Passage]]
SOURCES: list[tuple[str, Source]] = []


def source(permission: str) -> Callable[[Source], Source]:
    """Let a context add what the engine does not know, for those who may see it."""

    def register(found: Source) -> Source:
        SOURCES.append((permission, found))
        return found

    return register


def gather(correlation_id: str, there: Answering) -> Story:
    """Read what the engine knows of a correlation id."""
    sagas = tuple(SagaInstance.objects.filter(correlation_id=correlation_id).order_by("id")[:MOST])
    told = told_under(correlation_id, there)
    click = click_of(correlation_id, told, there)
    rows = [row for _, row in told]
    flows = list(WatchedFlow.objects.filter(correlation_id=correlation_id).order_by("id")[:MOST])
    traces = [one.traceparent for one in (*sagas, *rows, *flows) if one.traceparent]
    subjects = {saga.subject_id for saga in sagas} | {event.aggregate_id for event in click.events}
    return Story(
        correlation_id=correlation_id,
        sagas=sagas,
        subjects=frozenset(one for one in subjects if one is not None),
        traceparent=traces[0] if traces else "",
        passages=(
            *_of_sagas(sagas),
            *_of_events(click.events, {row.id: row.pk for row in rows}, there),
            *_of_flows(flows),
        ),
        freshness=click.freshness,
    )


def _of_sagas(sagas: tuple[SagaInstance, ...]) -> Iterator[Passage]:
    for saga in sagas:
        facts = {
            "context": saga.context,
            "url": reverse("admin:sagas_sagainstance_change", args=[saga.id]),
        }
        said = f"{saga.name} of {saga.key}"
        cause = saga.causation_id or ""
        yield Passage(at=saga.started_at, kind="saga", text=f"{said} began", cause=cause, **facts)
        if saga.finished_at is not None:
            ended = f"{said} {saga.status}"
            yield Passage(at=saga.finished_at, kind="saga", text=ended, cause=str(saga.id), **facts)
    ids = [saga.id for saga in sagas]
    for run in StepRun.objects.filter(saga_id__in=ids).exclude(state=RunState.PENDING)[: MOST * 5]:
        yield Passage(
            at=run.committed_at,
            kind="step",
            context=run.context,
            text=f"{run.name} {run.direction}: {run.state}",
            cause=str(run.saga_id),
        )
    for fault in StepFault.objects.filter(saga_id__in=ids)[: MOST * 5]:
        yield Passage(
            at=fault.at,
            kind="fault",
            context="",
            text=f"{fault.name} {fault.direction}: {fault.error}",
            cause=str(fault.saga_id),
        )


def _of_events(
    events: Iterable[ToldEvent], in_outbox: dict[UUID, int], there: Answering
) -> Iterator[Passage]:
    found = {event.id: event for event in events}
    for event in found.values():
        yield _told(event, in_outbox.get(event.id))
    for context in there.among(contexts()):
        inbox = apps.get_model(context, "Inbox")._default_manager
        for heard in inbox.filter(consumer=context, event_id__in=list(found)):
            event = found[heard.event_id]
            names = [one.handler.__name__ for one in readers_of(event.name, event.version, context)]
            yield Passage(
                at=heard.applied_at,
                kind="handler",
                context=context,
                text=f"{', '.join(names) or 'nothing'} for {heard.type}",
                cause=str(heard.event_id),
            )
    for letter in DeadLetter.objects.filter(event_id__in=list(found)).exclude(reason=""):
        yield Passage(
            at=letter.last_at,
            kind="dead letter",
            context=letter.context,
            text=f"{letter.event_name}: {letter.reason}",
            url=reverse("admin:sagas_deadletter_change", args=[letter.id]),
            cause=str(letter.event_id),
        )


def _told(event: ToldEvent, position: int | None) -> Passage:
    text = f"{event.name} v{event.version}{f' by {event.actor}' if event.actor else ''}"
    if event.is_missing:
        text += " (not in the timeline)"
    elif event.sentence:
        text += f": {event.sentence}"
    return Passage(
        at=event.at,
        kind="event",
        context=event.context,
        text=text,
        # Pruned from its outbox, it is read in the history of its aggregate.
        url=past_url(f"{event.aggregate_type}:{event.aggregate_id}")
        if position is None
        else reverse(f"admin:{event.context}_outbox_change", args=[position]),
        cause=event.cause,
    )


def _of_flows(flows: list[WatchedFlow]) -> Iterator[Passage]:
    for flow in flows:
        yield Passage(
            at=flow.opened_at,
            kind="flow",
            context="",
            text=f"{flow.name}: {flow.state}",
            url=reverse("admin:sagas_watchedflow_change", args=[flow.id]),
            cause=str(flow.event_id),
        )


def told_to(request: HttpRequest, story: Story, there: Answering) -> list[Passage]:
    """Return everything on the way that an operator may see, in its order."""
    more = [
        passage
        for permission, found in SOURCES
        if request.user.has_perm(permission) and there.has(permission.partition(".")[0])
        for passage in found(story)
    ]
    every = sorted([*story.passages, *more], key=lambda passage: passage.at)
    if not every:
        return []
    began = Passage(
        at=every[0].at, kind="request", context="", text=f"request {story.correlation_id}"
    )
    return [began, *every]


def story_view(request: HttpRequest, correlation_id: str) -> HttpResponse:
    """Show the way of one click to whoever may see sagas."""
    if not request.user.has_perm("sagas.view_sagainstance"):
        raise PermissionDenied
    there = Answering()
    story = gather(correlation_id, there)
    passages = told_to(request, story, there)
    if not passages:
        raise Http404("Nothing has this correlation id, or it is pruned.")
    context = {
        **admin.site.each_context(request),
        "title": "From the click to the last message",
        "story": story,
        "trace_id": story.traceparent[3:35],
        "passages": passages,
    }
    return TemplateResponse(request, "admin/sagas/story.html", context)
