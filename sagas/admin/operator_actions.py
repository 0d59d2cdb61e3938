"""The audit of what operators did, and why."""

from typing import ClassVar

from django.contrib import admin

from sagas.admin.choices import one_of
from sagas.admin.display import chip, find_url, link, when
from sagas.admin.records import ReadOnlyAdmin
from sagas.models import OperatorAction

ACTIONS = ("resume", "compensate", "park", "skip", "signal", "resend", "discard", "close", "edit")


@admin.register(OperatorAction)
class OperatorActionAdmin(ReadOnlyAdmin):
    """Acts of operators; the table is append-only in the database itself."""

    list_display = ("when", "by", "action", "target", "ended", "reason")
    list_filter = (
        one_of("action", lambda: ACTIONS),
        one_of("outcome", lambda: ("done", "refused")),
    )
    ordering = ("-id",)
    search_fields = ("=target_id", "=by")
    search_help_text = "The id of what was acted on, or an operator's name"
    sortable_by: ClassVar[tuple[str, ...]] = ()
    fields = ("when", "by", "action", "target", "ended", "reason")

    @admin.display(description="at")
    def when(self, act: OperatorAction) -> str:
        """Show when."""
        return when(act.at)

    @admin.display(description="on")
    def target(self, act: OperatorAction) -> str:
        """Show on what, as a link."""
        return link(find_url(act.target_id), f"{act.target_type} {act.target_id}")

    @admin.display(description="outcome")
    def ended(self, act: OperatorAction) -> str:
        """Show how it ended."""
        return chip(act.outcome)
