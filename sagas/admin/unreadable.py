"""The screen of messages that no worker could read, with their bytes."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, Min, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse

from sagas import clock
from sagas.admin.acts import Act, ActingAdmin, Target
from sagas.admin.attention import concern
from sagas.admin.display import age, chip, code, folded, instant, list_of
from sagas.admin.search import as_uuid, findable
from sagas.durations import duration
from sagas.models import UnreadableMessage
from sagas.outbox import discarding
from sagas.unreadable import MOST

Rows = QuerySet[UnreadableMessage]
LINE = 16
SHOWN = 4096
"""Bytes of which the page shows hexadecimal lines."""


def hexadecimal(body: bytes) -> str:
    """Return the beginning of a body in lines of offset, bytes, and what of them can be read."""
    lines = []
    for start in range(0, min(len(body), SHOWN), LINE):
        part = body[start : start + LINE]
        text = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{LINE * 3 - 1}}  {text}")
    return "\n".join(lines)


def readable(body: bytes) -> str:
    """Return a body as a text in which whatever is not printable is an escape."""
    text = body.decode(errors="backslashreplace")
    return "".join(
        each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text
    )


def how_often(message: UnreadableMessage) -> str:
    """Return in words how many came that are like it."""
    return "once" if message.times == 1 else f"{message.times} times"


class DiscardUnreadable(Act):
    """Puts a message out of the way that somebody has looked at."""

    name = "discard"
    label = "Discard"
    permission = "sagas.discard_unreadable"
    target_type = "unreadable message"
    promise = (
        "The message no longer waits for anybody. It is carried out by nobody, as before; the"
        " latest that were discarded can still be looked at. The next like it is a row of its own."
    )

    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the messages as they stand now, the oldest first."""
        ids = [key for key in map(as_uuid, keys) if key is not None]
        return [
            Target(
                key=str(message.id),
                mark=f"{message.discarded_at}:{message.times}",
                title=str(message),
                url=reverse("admin:sagas_unreadablemessage_change", args=[message.id]),
                preview=(f"It came {how_often(message)}, {message.size} bytes.",),
                refusal=self.refusal(message),
            )
            for message in UnreadableMessage.objects.filter(id__in=ids).order_by("id")
        ]

    def refusal(self, row: UnreadableMessage) -> str | None:
        """Return why there is nothing to put out of the way."""
        return "it is discarded already" if row.discarded_at is not None else None

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service; it guards, changes and audits in one transaction."""
        return discarding.discard_unreadable(UUID(key), by=by, reason=reason)


class StateFilter(admin.SimpleListFilter):
    """Whether somebody has looked."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the two states."""
        return (("human", "waits for an operator"), ("discarded", "discarded"))

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        if self.value() not in {"human", "discarded"}:
            return queryset
        return queryset.filter(discarded_at__isnull=self.value() == "human")


@admin.register(UnreadableMessage)
class UnreadableMessageAdmin(ActingAdmin):
    """Unreadable messages, with why."""

    acts = (DiscardUnreadable(),)
    list_display = ("state", "why", "queue", "size", "times", "since", "latest")
    list_display_links = ("why",)
    list_filter = (StateFilter,)
    ordering = ("-id",)
    sortable_by: ClassVar[tuple[str, ...]] = ("size", "times", "since", "latest")
    fields = (
        "state",
        "reason",
        "queue",
        "came",
        instant("received_at"),
        instant("last_at"),
        instant("discarded_at"),
        "content_type",
        "content_encoding",
        "header",
        "size",
        "as_text",
        "as_bytes",
        "id",
    )

    def get_queryset(self, request: HttpRequest) -> Rows:
        """Leave the bytes of the messages out of the list."""
        rows: Rows = super().get_queryset(request)
        return rows.defer("body", "headers", "digest")

    def headline(self, request: HttpRequest) -> str:
        """Return how many wait for a person, and for how long."""
        waiting = UnreadableMessage.objects.filter(discarded_at=None)
        found = waiting.aggregate(count=Count("id"), oldest=Min("received_at"), times=Sum("times"))
        if not found["count"]:
            return "No unreadable message waits for an operator."
        since = duration(clock.real() - found["oldest"])
        full = f" No more than {MOST} are kept: what comes now is in the log alone."
        return (
            f"{found['count']} different, {found['times']} in all, the oldest for {since}."
            f"{full if found['count'] >= MOST else ''}"
        )

    @admin.display(description="state")
    def state(self, message: UnreadableMessage) -> str:
        """Show the chip."""
        return chip("waits for an operator" if message.discarded_at is None else "discarded")

    @admin.display(description="reason")
    def why(self, message: UnreadableMessage) -> str:
        """Show the beginning of the reason."""
        return message.reason[:100]

    @admin.display(description="came")
    def came(self, message: UnreadableMessage) -> str:
        """Show how often it came."""
        return how_often(message)

    @admin.display(description="since", ordering="received_at")
    def since(self, message: UnreadableMessage) -> str:
        """Show when the first came."""
        return age(message.received_at)

    @admin.display(description="latest", ordering="last_at")
    def latest(self, message: UnreadableMessage) -> str:
        """Show when the latest came."""
        return age(message.last_at)

    @admin.display(description="headers")
    def header(self, message: UnreadableMessage) -> str:
        """Show the headers as they are kept."""
        return code(message.headers)

    @admin.display(description="content as text")
    def as_text(self, message: UnreadableMessage) -> str:
        """Show what is kept of the body, with escapes, folded."""
        return folded("show the text", readable(bytes(message.body)))

    @admin.display(description="content in bytes")
    def as_bytes(self, message: UnreadableMessage) -> str:
        """Show the beginning of the body in hexadecimal lines, folded."""
        return folded("show the bytes", hexadecimal(bytes(message.body)))


findable(UnreadableMessage, ids=("id",))
concern(
    "unreadable message",
    "unreadable messages",
    count=lambda: UnreadableMessage.objects.filter(discarded_at=None).count(),
    url=lambda: list_of("sagas_unreadablemessage", "state=human"),
    permission="sagas.view_unreadablemessage",
)
