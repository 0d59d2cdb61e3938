"""The screen of watched flows: any instance with its hops, the missing one named."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from sagas.admin.acts import Act, ActingAdmin, Target
from sagas.admin.attention import concern
from sagas.admin.display import (
    NOTHING,
    age,
    chip,
    find_url,
    instant,
    json_block,
    link,
    list_of,
    when,
)
from sagas.admin.search import as_uuid, findable
from sagas.choreography import operating
from sagas.choreography import seen as seen_of_flow
from sagas.choreography.flows import FLOWS
from sagas.choreography.looking import Look, look, missing
from sagas.choreography.words import missing_words, next_words
from sagas.core.states import FlowState
from sagas.models import WatchedFlow

Rows = QuerySet[WatchedFlow]
PARKED = Q(finished_at=None, parked_at__isnull=False)


def waits_for_a_person() -> Q:
    """Return the condition for flows that nobody but a person takes further."""
    return PARKED | (Q(finished_at=None) & ~Q(name__in=list(FLOWS)))


class FlowAct(Act):
    """An act on watched flows; which one is said by the subclasses."""

    target_type = "watched flow"
    service: ClassVar[Callable[..., bool]]

    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the flows as they stand now, the oldest first."""
        ids = [key for key in map(as_uuid, keys) if key is not None]
        return [
            Target(
                key=str(flow.id),
                mark=str(seen_of_flow.look(flow)),
                title=str(flow),
                url=reverse("admin:sagas_watchedflow_change", args=[flow.id]),
                preview=self.preview(flow),
                refusal=self.refusal(flow),
            )
            for flow in WatchedFlow.objects.filter(id__in=ids).order_by("id")
        ]

    def preview(self, flow: WatchedFlow) -> tuple[str, ...]:
        """Return why it stands where it does."""
        return (f"Missing: {flow.parked_reason or flow.missing or 'nothing that was seen yet'}.",)

    @abstractmethod
    def refusal(self, row: WatchedFlow) -> str | None:
        """Return why the act is not possible now."""

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service; it guards, changes and audits in one transaction."""
        saw = seen_of_flow.read(seen)
        return type(self).service(UUID(key), by=by, reason=reason, seen=saw)


class ResumeFlow(FlowAct):
    """Lets a parked flow go on."""

    name = "resume"
    label = "Resume"
    permission = "sagas.resume_saga"
    promise = (
        "The missing event is delivered again, as often as at first; a context that has applied it"
        " takes no notice. A flow whose hops are all through by now is completed."
    )
    service = staticmethod(operating.resume)

    def refusal(self, row: WatchedFlow) -> str | None:
        """Return why it cannot be resumed."""
        return None if row.finished_at is None and row.parked_at else "it is not parked"


class CompensateFlow(FlowAct):
    """Gives a flow up."""

    name = "compensate"
    label = "Compensate"
    permission = "sagas.compensate_saga"
    promise = (
        "What the hops have done is taken back, the last one first, and a hop that comes late finds"
        " the door shut. It cannot be taken back."
    )
    service = staticmethod(operating.compensate)

    def refusal(self, row: WatchedFlow) -> str | None:
        """Return why it cannot be given up."""
        declared = FLOWS.get(row.name)
        if declared is None or not declared.can_be_undone:
            return "nothing of it can be taken back"
        return None if row.state == FlowState.RUNNING else f"it is {row.state}"


class CloseFlow(FlowAct):
    """Ends a parked flow."""

    name = "close"
    label = "Close"
    permission = "sagas.skip_saga"
    promise = "The flow ends as it stands: somebody has seen to it by hand. Nothing else happens."
    service = staticmethod(operating.close)

    def refusal(self, row: WatchedFlow) -> str | None:
        """Return why it cannot be closed."""
        return None if row.finished_at is None and row.parked_at else "it is not parked"


class StandFilter(admin.SimpleListFilter):
    """How a flow stands."""

    title = "stands"
    parameter_name = "stands"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer who waits for a person, and the states."""
        states = [(state.value, state.value) for state in FlowState]
        return [("human", "needs a human"), ("late", "a hop is missing"), *states]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        chosen = self.value()
        if chosen == "human":
            return queryset.filter(waits_for_a_person())
        if chosen == "late":
            return queryset.filter(finished_at=None).exclude(missing="")
        return queryset.filter(state=chosen) if chosen else queryset


def hops_of(flow: WatchedFlow) -> list[Look]:
    """Return how far a flow has come, read now; nothing where no release here declares it."""
    declared = FLOWS.get(flow.name)
    return look(flow, declared) if declared is not None else []


@admin.register(WatchedFlow)
class WatchedFlowAdmin(ActingAdmin):
    """Flows of events, each with the hop that it waits for."""

    acts = (ResumeFlow(), CompensateFlow(), CloseFlow())
    list_display = ("standing", "name", "about", "missing", "redrives", "opened")
    list_display_links = ("name",)
    list_filter = (StandFilter,)
    ordering = ("-id",)
    search_fields = ("id",)
    search_help_text = "Flow id, event id, aggregate id or correlation id"
    sortable_by: ClassVar[tuple[str, ...]] = ("name", "redrives")
    fields = (
        "standing",
        "name",
        "about",
        "hops",
        "stands_at",
        "comes_next",
        "redrives",
        instant("opened_at"),
        "deadline_at",
        instant("finished_at"),
        "story",
        "event",
        "content",
        "id",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        """Find by the ids that a flow carries."""
        term = search_term.strip()
        if not term or "\x00" in term:
            return queryset, False
        wanted = Q(correlation_id=term)
        if (key := as_uuid(term)) is not None:
            wanted |= Q(id=key) | Q(event_id=key) | Q(aggregateid=key)
        return queryset.filter(wanted), False

    @admin.display(description="stands")
    def standing(self, flow: WatchedFlow) -> str:
        """Show the chip."""
        parked = flow.finished_at is None and flow.parked_at is not None
        return chip("parked" if parked else flow.state)

    @admin.display(description="about")
    def about(self, flow: WatchedFlow) -> str:
        """Show what it is about, as a link to its page."""
        return format_html(
            "{} {}", flow.aggregatetype, link(find_url(flow.aggregateid), str(flow.aggregateid))
        )

    @admin.display(description="opened", ordering="id")
    def opened(self, flow: WatchedFlow) -> str:
        """Show when it began."""
        return age(flow.opened_at)

    @admin.display(description="hops")
    def hops(self, flow: WatchedFlow) -> SafeString:
        """Show each hop and whether it is through, as it is now."""
        lines = [(*_hop(one), one.hop.context, one.heard) for one in hops_of(flow)]
        if not lines:  # pruned, or of another release: what was seen then
            lines = [
                (chip("done"), seen["applied_at"], seen["context"], seen["event"])
                for seen in flow.seen
            ]
        return format_html_join(
            "", "<div>{sign} {context} hears {event} {said}</div>", map(_named, lines)
        )

    @admin.display(description="missing now")
    def stands_at(self, flow: WatchedFlow) -> str:
        """Show which hop is missing, and since when, or what keeps it from being taken back."""
        gap = missing(hops_of(flow))
        return missing_words(flow, FLOWS.get(flow.name), gap) or NOTHING

    @admin.display(description="what comes next")
    def comes_next(self, flow: WatchedFlow) -> str:
        """Show what happens by itself, and what can be pressed."""
        return next_words(flow, FLOWS.get(flow.name), missing(hops_of(flow)))

    @admin.display(description="correlation id")
    def story(self, flow: WatchedFlow) -> str:
        """Show the id that the whole story shares, as a link to all its hops."""
        return link(reverse("admin:story", args=[flow.correlation_id]), flow.correlation_id)

    @admin.display(description="began with")
    def event(self, flow: WatchedFlow) -> str:
        """Show the first event."""
        return link(find_url(flow.event_id), str(flow.event_id))

    @admin.display(description="payload of the first event")
    def content(self, flow: WatchedFlow) -> str:
        """Show the payload."""
        return json_block(flow.payload)


def _named(line: tuple[Any, Any, str, str]) -> dict[str, Any]:
    return dict(zip(("sign", "said", "context", "event"), line, strict=True))


def _hop(one: Look) -> tuple[SafeString, str]:
    if one.is_through:
        return chip("done"), when(one.applied_at)
    if one.event_id is None:
        return chip("not yet"), ""
    return chip("fault", "missing"), f"({one.why()})"


findable(WatchedFlow, ids=("id",), about=("event_id", "aggregateid"), mentions=("correlation_id",))
concern(
    "flow of events",
    "flows of events",
    count=lambda: WatchedFlow.objects.filter(waits_for_a_person()).count(),
    url=lambda: list_of("sagas_watchedflow", "stands=human"),
    permission="sagas.view_watchedflow",
)
