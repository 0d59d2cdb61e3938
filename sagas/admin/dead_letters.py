"""The screen of events that a context could not handle."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db import InterfaceError, OperationalError
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from sagas import answering, clock
from sagas.admin.acts import Act, ActingAdmin, Target
from sagas.admin.causes import by_cause
from sagas.admin.choices import one_of
from sagas.admin.detail import outbox_of
from sagas.admin.display import age, chip, code, find_url, folded, instant, link, when
from sagas.admin.search import as_uuid, findable
from sagas.contexts import contexts
from sagas.durations import duration, relative
from sagas.models import DeadLetter
from sagas.outbox import dead_letters, discarding, letter_marks
from sagas.outbox.letter_marks import with_cause
from sagas.transactions import alias_of

Rows = QuerySet[DeadLetter]
WAITS = Q(resolved_at=None, next_at=None)
"""Nobody tries these again but a person."""


def state_of(letter: DeadLetter) -> str:
    """Return whether a dead letter is tried again, waits for a person, or is over."""
    if letter.resolved_at is not None:
        return "resolved"
    return "waits for an operator" if letter.next_at is None else "retrying"


def sentence(letter: DeadLetter) -> str:
    """Return in plain words why a dead letter is stuck, and what happens next."""
    now = clock.real()
    if letter.resolved_at is not None:
        return f"Over since {relative(letter.resolved_at, now)}: {letter.context} is past it."
    times = "once" if letter.attempts == 1 else f"{letter.attempts} times"
    stuck = f"{letter.context} failed {times}, first {relative(letter.first_at, now)}:"
    return f"{stuck} {letter.reason}. {_next(letter, now)} {_behind(letter)}"


def _behind(letter: DeadLetter) -> str:
    if answering.trouble(alias_of(letter.producer)):
        return f"The database of {letter.producer} does not say how many wait behind it."
    later = outbox_of(letter.producer)._default_manager.filter(
        aggregatetype=letter.aggregate_type,
        aggregateid=letter.aggregate_id,
        sequence__gt=letter.sequence,
    )
    return f"Later events of its aggregate that wait behind it: {later.count()}."


def _next(letter: DeadLetter, now: datetime) -> str:
    if letter.next_at is None:
        return "Nobody tries it again until it is resent or discarded."
    soon = relative(letter.next_at, now) if letter.next_at > now else "any moment now"
    return f"It is tried again {soon}."


class StateFilter(admin.SimpleListFilter):
    """Whether a person has to act."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the three states."""
        return (
            ("human", "waits for an operator"),
            ("retrying", "retrying"),
            ("resolved", "resolved"),
        )

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        conditions = {
            "human": WAITS,
            "retrying": Q(resolved_at=None, next_at__isnull=False),
            "resolved": Q(resolved_at__isnull=False),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


RESOLVED = "it is resolved already"


class ResendDeadLetter(Act):
    """Tries events again that a context could not handle."""

    name = "resend"
    label = "Resend"
    permission = "sagas.resend_deadletter"
    target_type = "dead letter"
    promise = (
        "The same event is tried again at once, with its attempts counted from 1; the later"
        " events of its aggregate follow when it is applied. It is applied once at most."
    )

    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the dead letters as they stand now, the oldest first."""
        ids = [key for key in map(as_uuid, keys) if key is not None]
        return [
            Target(
                key=str(letter.id),
                mark=str(letter_marks.look(letter)),
                title=f"{letter} ({letter.event_id})",
                url=reverse("admin:sagas_deadletter_change", args=[letter.id]),
                preview=self.preview(letter),
                refusal=self.refusal(letter),
            )
            for letter in with_cause(DeadLetter.objects.filter(id__in=ids)).order_by("id")
        ]

    def preview(self, letter: DeadLetter) -> tuple[str, ...]:
        """Return what will happen."""
        return (
            f"It is delivered to {letter.context} again.",
            f"Last time it went wrong with: {letter.reason}.",
        )

    def refusal(self, row: DeadLetter) -> str | None:
        """Return why it cannot be tried again."""
        if row.resolved_at is not None:
            return RESOLVED
        return None if row.attempts else "it was sent again already and has not failed since"

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service; it guards, changes and audits in one transaction."""
        saw = letter_marks.read(seen)
        return dead_letters.resend(UUID(key), by=by, reason=reason, seen=saw)


class DiscardDeadLetter(ResendDeadLetter):
    """Lets a context go on without an event that it will never be able to handle."""

    name = "discard"
    label = "Discard"
    permission = "sagas.discard_deadletter"
    promise = (
        "The context counts the event as seen without handling it, and goes on with the later"
        " events of its aggregate. It cannot be taken back."
    )

    def refusal(self, row: DeadLetter) -> str | None:
        """Return why there is nothing to go past, or no way past it."""
        if row.resolved_at is not None:
            return RESOLVED
        try:
            return discarding.BEHIND_A_HOLE if discarding.is_behind_a_hole(row) else None
        except (OperationalError, InterfaceError):
            return f"the database of {row.context} does not answer"

    def preview(self, letter: DeadLetter) -> tuple[str, ...]:
        """Return what is lost."""
        return (
            f"{letter.context} will never handle it.",
            f"The last attempt went wrong with: {letter.reason}.",
        )

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service; it guards, changes and audits in one transaction."""
        saw = letter_marks.read(seen)
        return discarding.discard(UUID(key), by=by, reason=reason, seen=saw)


@admin.register(DeadLetter)
class DeadLetterAdmin(ActingAdmin):
    """Dead letters, with why."""

    acts = (ResendDeadLetter(), DiscardDeadLetter())
    list_display = ("state", "event_name", "context", "short_reason", "attempts", "since", "next")
    list_display_links = ("event_name",)
    list_filter = (
        StateFilter,
        one_of("context", contexts),
        one_of("producer", contexts),
        by_cause("reason", Q(resolved_at=None)),
    )
    ordering = ("-id",)
    search_fields = ("event_id",)
    search_help_text = "Event id or aggregate id"
    sortable_by: ClassVar[tuple[str, ...]] = ("event_name", "attempts", "since")
    fields = (
        "state",
        "story",
        "event_name",
        "event",
        "producer",
        "context",
        "aggregate_type",
        "aggregate",
        "sequence",
        "attempts",
        "reason",
        "trace",
        instant("first_at"),
        instant("last_at"),
        instant("next_at"),
        instant("resolved_at"),
    )

    def headline(self, request: HttpRequest) -> str:
        """Return how many wait for a person, and for how long."""
        found = DeadLetter.objects.filter(WAITS).aggregate(count=Count("id"), oldest=Min("last_at"))
        if not found["count"]:
            return "No dead letter waits for an operator."
        oldest = duration(clock.real() - found["oldest"])
        verb = "waits" if found["count"] == 1 else "wait"
        return f"{found['count']} {verb} for an operator, the oldest for {oldest}."

    def get_search_results(
        self, request: HttpRequest, queryset: Rows, search_term: str
    ) -> tuple[Rows, bool]:
        """Find by the ids that the event carries."""
        if not search_term.strip():
            return queryset, False
        key = as_uuid(search_term.strip())
        if key is None:
            return queryset.none(), False
        return queryset.filter(Q(id=key) | Q(event_id=key) | Q(aggregate_id=key)), False

    @admin.display(description="state")
    def state(self, letter: DeadLetter) -> str:
        """Show the chip."""
        return chip(state_of(letter))

    @admin.display(description="in words")
    def story(self, letter: DeadLetter) -> str:
        """Show why it is stuck, since when, what happens next, and what waits behind it."""
        return sentence(letter)

    @admin.display(description="reason")
    def short_reason(self, letter: DeadLetter) -> str:
        """Show the beginning of the reason."""
        return letter.reason[:100]

    @admin.display(description="since", ordering="first_at")
    def since(self, letter: DeadLetter) -> str:
        """Show when it first went wrong."""
        return age(letter.first_at)

    @admin.display(description="next attempt")
    def next(self, letter: DeadLetter) -> str:
        """Show when it is tried again."""
        return when(letter.next_at)

    @admin.display(description="event")
    def event(self, letter: DeadLetter) -> str:
        """Show the event's id, as a link to where it was published."""
        return link(find_url(letter.event_id), code(letter.event_id))

    @admin.display(description="aggregate")
    def aggregate(self, letter: DeadLetter) -> str:
        """Show what the event is about; its later events wait behind this one."""
        waiting = "" if letter.resolved_at else " (its later events wait behind this one)"
        return format_html(
            "{}{}", link(find_url(letter.aggregate_id), letter.aggregate_id), waiting
        )

    @admin.display(description="traceback")
    def trace(self, letter: DeadLetter) -> str:
        """Show the traceback, folded."""
        return folded("show the traceback", letter.traceback)


findable(DeadLetter, about=("event_id", "aggregate_id"))
