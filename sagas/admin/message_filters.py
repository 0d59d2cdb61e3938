"""Filters of the lists of outbox and inbox rows."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

Rows = QuerySet[Any]


class OutboxStateFilter(admin.SimpleListFilter):
    """How far events have come."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the three states."""
        return (
            ("unsent", "unsent"),
            ("published", "published, not settled"),
            ("settled", "settled: applied by all"),
        )

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        conditions = {
            "unsent": Q(published_at__isnull=True),
            "published": Q(published_at__isnull=False, settled_at__isnull=True),
            "settled": Q(settled_at__isnull=False),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


class LagFilter(admin.SimpleListFilter):
    """How long events waited, or have been waiting, to be published."""

    title = "lag"
    parameter_name = "lag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer a few lengths of time, in seconds."""
        return (
            ("1", "over 1 s"),
            ("10", "over 10 s"),
            ("60", "over 1 min"),
            ("600", "over 10 min"),
        )

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        chosen = self.value()
        if chosen is None or not chosen.isdecimal() or len(chosen) > 9:
            return queryset
        lag = timedelta(seconds=int(chosen))
        return queryset.filter(
            Q(published_at__gt=F("created_at") + lag)
            | Q(published_at__isnull=True, created_at__lt=Now() - lag)
        )


class EventTypeFilter(admin.SimpleListFilter):
    """The type of event; asks the code and not the table, which may be large."""

    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the types that this context publishes, or listens to."""
        return [(name, name) for name in sorted(model_admin.event_types())]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Narrow the list."""
        return queryset.filter(type=self.value()) if self.value() else queryset
