"""The search box that takes any id and jumps to the page it belongs to."""

import functools
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from sagas.answering import Answering

MOST_EACH = 5
# An effect key or the provider's idempotency key begins with the id of the saga.
_EFFECT_KEY = re.compile(r"^([0-9a-f-]{36}):\w+:(?:do|undo)(?::\d+)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finder:
    """By which columns the rows of one table are found."""

    model: type[Model]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    about: tuple[str, ...]
    mentions: tuple[str, ...]
    parse: Callable[[str], Q | None] | None

    def own(self, text: str) -> Q | None:
        """Return the condition for rows that the text names."""
        conditions = [Q(**{column: text}) for column in self.texts]
        if (key := as_uuid(text)) is not None:
            conditions += [Q(**{column: key}) for column in self.ids]
        if self.parse is not None and (parsed := self.parse(text)) is not None:
            conditions.append(parsed)
        return _any(conditions)

    def related(self, text: str) -> Q | None:
        """Return the condition for rows that only mention the text."""
        conditions = [Q(**{column: text}) for column in self.mentions]
        if (key := as_uuid(text)) is not None:
            conditions += [Q(**{column: key}) for column in self.about]
        return _any(conditions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One row that was found."""

    kind: str
    text: str
    url: str


FINDERS: dict[type[Model], Finder] = {}


def findable(
    model: type[Model],
    *,
    ids: Sequence[str] = ("id",),
    texts: Sequence[str] = (),
    about: Sequence[str] = (),
    mentions: Sequence[str] = (),
    parse: Callable[[str], Q | None] | None = None,
) -> None:
    """Let the search box find rows of a table that has a screen.

    :param ids: UUID columns that name the row
    :param texts: text columns that name the row
    :param about: UUID columns by which it belongs to something else; asked only when nothing is
        named by the text
    :param mentions: text columns of the same kind
    :param parse: makes a condition of texts such as printed numbers
    """
    FINDERS[model] = Finder(
        model=model,
        ids=tuple(ids),
        texts=tuple(texts),
        about=tuple(about),
        mentions=tuple(mentions),
        parse=parse,
    )


def as_uuid(text: str) -> UUID | None:
    """Return the text as a UUID, if it is one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def find(request: HttpRequest, text: str, there: Answering) -> list[Hit]:
    """Return what the text names, else what mentions it; only what the operator may see."""
    if (match := _EFFECT_KEY.match(text)) is not None:
        text = match.group(1)
    finders = [
        finder
        for finder in FINDERS.values()
        if _may_see(request, finder.model) and there.has(finder.model._meta.app_label)
    ]
    named = [hit for finder in finders for hit in _hits(finder, finder.own(text))]
    if named:
        return named
    return [hit for finder in finders for hit in _hits(finder, finder.related(text))]


def find_view(request: HttpRequest) -> HttpResponse:
    """Jump to the one page that an id belongs to, or show which there are."""
    if not admin.site.has_permission(request):
        raise PermissionDenied
    text = request.GET.get("q", "").strip()
    there = Answering()
    # PostgreSQL's text has no zero byte, and no id is this long.
    hits = find(request, text, there) if 0 < len(text) <= 300 and "\x00" not in text else []
    if len(hits) == 1:
        return HttpResponseRedirect(hits[0].url)
    context = {
        **admin.site.each_context(request),
        "title": "Search",
        "text": text,
        "hits": hits,
        "alerts": there.alerts,
    }
    return TemplateResponse(request, "admin/sagas/search.html", context)


def _may_see(request: HttpRequest, model: type[Model]) -> bool:
    registered = admin.site.is_registered(model)
    return registered and admin.site.get_model_admin(model).has_view_permission(request)


def _hits(finder: Finder, condition: Q | None) -> Iterator[Hit]:
    if condition is None:
        return
    options = finder.model._meta
    for row in finder.model._default_manager.filter(condition)[:MOST_EACH]:
        yield Hit(
            kind=str(options.verbose_name),
            text=str(row),
            url=reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[row.pk]),
        )


def _any(conditions: list[Q]) -> Q | None:
    return functools.reduce(operator.or_, conditions) if conditions else None
