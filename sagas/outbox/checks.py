"""System checks of what is told: nobody may listen to what nobody says."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, register

from sagas.outbox.event_map import Told, event_map


@register("sagas")
def check_events(**_: Any) -> list[CheckMessage]:
    """Refuse a listener that would never hear anything; warn of an event that nobody reads."""
    told = event_map()
    return [*_unheard_of(told), *_unread(told)]


def _unheard_of(told: tuple[Told, ...]) -> Iterator[CheckMessage]:
    known = {one.label for one in told if one.event is not None}
    for one in told:
        if one.event is not None:
            continue
        near = get_close_matches(one.label, known, n=1)
        for listener in one.listeners:
            yield Error(
                f"{listener.handler_name} listens to {one.label}, which no context publishes",
                hint=f"Did you mean {near[0]}?" if near else "See docs/event-map.md.",
                id="sagas.E020",
            )


def _unread(told: tuple[Told, ...]) -> Iterator[CheckMessage]:
    for one in told:
        if one.event is not None and not one.listeners and not one.outside:
            yield checks.Warning(
                f"nobody listens to {one.label}",
                hint=f"Say in {one.event.__qualname__}.outside who reads it, or leave it out.",
                id="sagas.W020",
            )
