"""Which context listens to which, since when, and how far it has come with what was told before."""

from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest

from sagas.admin.display import NOTHING, age, chip, instant
from sagas.admin.records import ReadOnlyAdmin
from sagas.models import Consumer

BEGAN = {"first": "with the first event ever told", "now": "with what is told from then on"}


@admin.register(Consumer)
class ConsumerAdmin(ReadOnlyAdmin):
    """Contexts that listen to others."""

    list_display = ("consumer", "producer", "state", "came", "began", "since", "caught_up")
    list_display_links = ("consumer",)
    ordering = ("consumer", "producer")
    sortable_by: ClassVar[tuple[str, ...]] = ("consumer", "producer", "since")
    fields = (
        "consumer",
        "producer",
        "state",
        "came",
        "began",
        "events",
        instant("begun_at", "written down"),
        instant("listens_since"),
        instant("caught_up_at"),
    )

    def headline(self, request: HttpRequest) -> str:
        """Return how many catch up, or what an empty list means."""
        found = list(Consumer.objects.order_by("consumer", "producer"))
        if not found:
            return (
                "No context listens to another so far: the next tick of a worker writes down"
                " each that does."
            )
        late = [f"{row.consumer} with {row.producer}" for row in found if row.caught_up_at is None]
        if not late:
            return "Each has applied what was told before it listened, or has no wish to."
        return f"Still catching up: {', '.join(late)}."

    @admin.display(description="state")
    def state(self, row: Consumer) -> str:
        """Show whether it has caught up."""
        return chip("catching up" if row.caught_up_at is None else "caught up")

    @admin.display(description="how far")
    def came(self, row: Consumer) -> str:
        """Show how far it has come with what was told before it began."""
        if row.caught_up_at is not None:
            return "all that was told before" if row.start == "first" else "nothing from before"
        if row.border <= row.read_to:
            return "all that was told before it began; looks for what came meanwhile"
        return f"position {row.read_to:,} of {row.border:,}, {row.read_to * 100 // row.border} %"

    @admin.display(description="began")
    def began(self, row: Consumer) -> str:
        """Show where it began, which stands for ever."""
        return BEGAN.get(row.start, row.start)

    @admin.display(description="listens since", ordering="listens_since")
    def since(self, row: Consumer) -> str:
        """Show since when it listens to the last of its events."""
        return age(row.listens_since)

    @admin.display(description="caught up")
    def caught_up(self, row: Consumer) -> str:
        """Show when it had caught up."""
        return age(row.caught_up_at) if row.caught_up_at else NOTHING

    @admin.display(description="listens to")
    def events(self, row: Consumer) -> str:
        """Show the names of the events."""
        return ", ".join(row.names) or NOTHING
