"""Filters over a fixed set of words, which need not read the table to know them."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest


def one_of(
    column: str, values: Callable[[], Iterable[str]], title: str | None = None
) -> type[admin.SimpleListFilter]:
    """Return a filter over the words that a column may hold."""

    class OneOf(admin.SimpleListFilter):
        """Rows whose column holds the chosen word."""

        parameter_name = column

        def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
            """Offer the words."""
            return [(value, value) for value in values()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            """Narrow the list."""
            chosen = self.value()
            return queryset.filter(**{column: chosen}) if chosen in list(values()) else queryset

    OneOf.title = title or column.replace("_", " ")
    return OneOf
