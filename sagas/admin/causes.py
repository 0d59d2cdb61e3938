"""A filter over what stops rows, so that an act can be done on all of one cause."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Count, Q
from django.http import HttpRequest

from sagas.causes import cause_of

MOST = 20


def by_cause(column: str, stuck: Q) -> type[admin.SimpleListFilter]:
    """Return a filter over the causes of the rows that wait for a person.

    :param column: where the reason stands
    :param stuck: which rows wait
    """

    class ByCause(admin.SimpleListFilter):
        """Rows that are stuck for the chosen cause."""

        title = "what stops it"
        parameter_name = "cause"

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
            """Offer the causes there are, the most frequent first."""
            rows = model_admin.model._default_manager.filter(stuck)
            causes = rows.annotate(cause=cause_of(column)).values("cause")
            found = causes.annotate(count=Count("pk")).order_by("-count", "cause")[:MOST]
            return [(row["cause"], f"{row['cause']} ({row['count']})") for row in found]

        def queryset(self, request: HttpRequest, queryset: Any) -> Any:
            """Narrow the list."""
            chosen = self.value()
            if not chosen:
                return queryset
            return queryset.filter(stuck).annotate(cause=cause_of(column)).filter(cause=chosen)

    return ByCause
