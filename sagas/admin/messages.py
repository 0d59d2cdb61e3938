"""The screens of a context's outbox and inbox; each context registers its own tables."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from django.apps import apps
from django.contrib import admin
from django.db.models import Count, Min, Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from sagas import clock
from sagas.admin.acts import Act, ActingAdmin, Target
from sagas.admin.detail import outbox_state
from sagas.admin.display import (
    NOTHING,
    age,
    chip,
    code,
    find_url,
    instant,
    json_block,
    link,
    link_to,
    short,
    when,
)
from sagas.admin.message_filters import EventTypeFilter, LagFilter, OutboxStateFilter
from sagas.admin.records import ReadOnlyAdmin
from sagas.admin.search import as_uuid
from sagas.core.events import Event
from sagas.durations import duration
from sagas.models import DeadLetter
from sagas.outbox.resending import resend_event
from sagas.outbox.subscriptions import SUBSCRIPTIONS, consumers_of

Rows = QuerySet[Any]


class ResendEvent(Act):
    """Publishes events of one context again."""

    name = "resend"
    label = "Resend"
    permission = "sagas.resend_deadletter"
    promise = (
        "The same event is delivered again under the same id; a context that has applied it"
        " takes no notice."
    )

    def __init__(self, model: type[Model]) -> None:
        """Say whose outbox it is."""
        self.model = model
        self.context = model._meta.app_label
        self.target_type = f"{self.context} event"

    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the events as they stand now."""
        positions = [int(key) for key in keys if key.isdecimal() and len(key) < 19]
        rows: Rows = self.model._default_manager.filter(position__in=positions)
        name = f"admin:{self.context}_{self.model._meta.model_name}_change"
        return [
            Target(
                key=str(row.position),
                mark=f"{row.attempts}",
                title=f"{row} ({row.id})",
                url=reverse(name, args=[row.position]),
                preview=tuple(
                    f"It is delivered to {consumer}." for consumer in consumers_of(row.type)
                ),
                refusal=self.refusal(row),
            )
            for row in rows.order_by("position")
        ]

    def refusal(self, row: Any) -> str | None:
        """Return why there is nothing to send."""
        return None if consumers_of(row.type) else "no context listens to it"

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service; it audits and publishes."""
        rows: Rows = self.model._default_manager.filter(position=int(key))
        event_id = rows.values_list("id", flat=True).first()
        return event_id is not None and resend_event(
            self.context, event_id, by=by, reason=reason, seen=int(seen) if seen.isdecimal() else -1
        )


class OutboxAdmin(ActingAdmin):
    """The events that a context has published, or is about to."""

    list_display = (
        "state",
        "event",
        "aggregate",
        "sequence",
        "written",
        "lag",
        "attempts",
    )
    list_display_links = ("event",)
    list_filter = (OutboxStateFilter, LagFilter, EventTypeFilter)
    ordering = ("-position",)
    search_fields = ("id",)
    search_help_text = "Event id, aggregate id or correlation id"
    sortable_by: ClassVar[tuple[str, ...]] = ("event", "written", "attempts")
    fields = (
        "state",
        "type",
        "version",
        "id",
        "position",
        "aggregate",
        "sequence",
        instant("occurred_at"),
        instant("created_at"),
        instant("published_at"),
        instant("settled_at"),
        "lag",
        "attempts",
        "actor",
        "correlation",
        "caused_by",
        "traceparent",
        "consumers",
        "content",
    )

    def __init__(self, model: type[Any], admin_site: admin.AdminSite) -> None:
        """Give the screen the act on its own table."""
        super().__init__(model, admin_site)
        self.context = model._meta.app_label
        self.acts = (ResendEvent(model),)  # type: ignore[misc]  # one for each table

    def event_types(self) -> set[str]:
        """Return the types that this context publishes."""
        names = {getattr(event, "name", "") for event in Event.__subclasses__()}
        return {name for name in names if name.startswith(f"{self.context}.")}

    def headline(self, request: HttpRequest) -> str:
        """Return how many events are unsent, and for how long."""
        unsent = self.model._default_manager.filter(published_at__isnull=True)
        found = unsent.aggregate(count=Count("position"), oldest=Min("created_at"))
        if not found["count"]:
            return "No event is unsent."
        oldest = duration(clock.real() - found["oldest"])
        return f"{found['count']} unsent, the oldest for {oldest}."

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        """Find by the ids that an event carries."""
        term = search_term.strip()
        if not term or "\x00" in term:
            return queryset, False
        wanted = Q(correlation_id=term)
        if (key := as_uuid(term)) is not None:
            wanted |= Q(id=key) | Q(aggregateid=key)
        return queryset.filter(wanted), False

    @admin.display(description="state")
    def state(self, row: Any) -> str:
        """Show the chip."""
        return chip(outbox_state(row))

    @admin.display(description="type", ordering="type")
    def event(self, row: Any) -> str:
        """Show name and version."""
        return f"{row.type} v{row.version}"

    @admin.display(description="aggregate")
    def aggregate(self, row: Any) -> str:
        """Show what the event is about, as a link to its page."""
        return format_html(
            "{} {}", row.aggregatetype, link(find_url(row.aggregateid), short(row.aggregateid))
        )

    @admin.display(description="written", ordering="position")
    def written(self, row: Any) -> str:
        """Show when it was committed."""
        return age(row.created_at)

    @admin.display(description="lag")
    def lag(self, row: Any) -> str:
        """Show how long it took to be published."""
        if row.published_at is None:
            return f"waiting for {duration(clock.real() - row.created_at)}"
        return duration(row.published_at - row.created_at)

    @admin.display(description="correlation id")
    def correlation(self, row: Any) -> str:
        """Show the id that the whole story shares, as a link to all its hops."""
        return link(reverse("admin:story", args=[row.correlation_id]), row.correlation_id)

    @admin.display(description="caused by")
    def caused_by(self, row: Any) -> str:
        """Show which event, saga or request caused it."""
        return link(find_url(row.causation_id), row.causation_id) if row.causation_id else NOTHING

    @admin.display(description="consumers")
    def consumers(self, row: Any) -> str:
        """Show for each context that listens whether it has applied the event."""
        lines = list(self._consumers(row))
        return format_html_join("", "<div>{}: {}</div>", lines) if lines else "nobody listens"

    def _consumers(self, row: Any) -> Iterator[tuple[str, str]]:
        names = consumers_of(row.type)
        found = DeadLetter.objects.filter(event_id=row.id, resolved_at=None) if names else []
        letters = {letter.context: letter for letter in found}
        for name in names:
            inbox = apps.get_model(name, "Inbox")._default_manager.filter(
                consumer=name, event_id=row.id
            )
            applied_at = inbox.values_list("applied_at", flat=True).first()
            if applied_at is not None:
                yield (
                    name,
                    format_html("{} {}", chip("settled", "applied"), when(applied_at)),
                )
            elif name in letters:
                letter = letters[name]
                yield name, link_to("sagas_deadletter", letter.pk, f"dead letter: {letter.reason}")
            else:
                yield name, "no inbox row (not applied yet, or pruned since)"

    @admin.display(description="payload")
    def content(self, row: Any) -> str:
        """Show the payload."""
        return json_block(row.payload)


class InboxAdmin(ReadOnlyAdmin):
    """The events that a context has applied."""

    list_display = ("event", "applied", "event_link")
    list_filter = (EventTypeFilter,)
    ordering = ("-id",)
    search_fields = ("event_id",)
    search_help_text = "Event id"
    sortable_by: ClassVar[tuple[str, ...]] = ("applied",)
    fields = ("event", "consumer", "event_link", "applied")

    def event_types(self) -> set[str]:
        """Return the types that this context listens to."""
        context = self.opts.app_label
        return {
            name for (name, _), ones in SUBSCRIPTIONS.items() for s in ones if s.context == context
        }

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        """Find by the event's id."""
        if not search_term.strip():
            return queryset, False
        key = as_uuid(search_term.strip())
        return (queryset.filter(event_id=key) if key else queryset.none()), False

    @admin.display(description="type")
    def event(self, row: Any) -> str:
        """Show the type."""
        return str(row.type)

    @admin.display(description="applied", ordering="id")
    def applied(self, row: Any) -> str:
        """Show when it was applied."""
        return when(row.applied_at)

    @admin.display(description="event")
    def event_link(self, row: Any) -> str:
        """Show the event's id, as a link to where it was published."""
        return link(find_url(row.event_id), code(row.event_id))
