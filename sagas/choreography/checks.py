"""System checks of declared choreographies: each hop hears, each tells, and they are few."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Error, register

from sagas.choreography.flows import FLOWS
from sagas.conf import conf
from sagas.core.choreography import Choreography
from sagas.outbox import subscriptions
from sagas.outbox.event_map import emitted

LONGEST = 4


@register("sagas")
def check_choreographies(**_: Any) -> list[CheckMessage]:
    """Refuse flows that nobody carries; warn of those that ask for an orchestrator."""
    found: list[CheckMessage] = []
    for flow in FLOWS.values():
        found += [*_untold(flow), *_unheard(flow), *_unreadable(flow)]
        found += [*_forgotten(flow), *_long(flow)]
    return found


def _untold(flow: Choreography) -> Iterator[CheckMessage]:
    names = {name for name, _ in emitted()}
    for event in flow.heard:
        if event not in names:
            yield Error(f"{flow.name}: no context publishes {event}", id="sagas.E021")


def _unheard(flow: Choreography) -> Iterator[CheckMessage]:
    for hop, event in zip(flow.hops, flow.heard, strict=True):
        if hop.context not in subscriptions.consumers_of(event):
            yield Error(f"{flow.name}: {hop.context} does not listen to {event}", id="sagas.E021")


def _unreadable(flow: Choreography) -> Iterator[CheckMessage]:
    """Find fields that the first event does not have: they would fail whoever publishes it."""
    for (name, version), event in emitted().items():
        if name != flow.begins_with:
            continue
        written = {field.name for field in dataclasses.fields(event)}  # type: ignore[arg-type]
        read = {field.name for payload in flow.payloads for field in dataclasses.fields(payload)}
        for missing in sorted(read - written):
            yield Error(f"{flow.name}: {name} v{version} has no {missing}", id="sagas.E022")


def _forgotten(flow: Choreography) -> Iterator[CheckMessage]:
    """Find flows that outlast what a look reads: of what is pruned there are positions only."""
    lasts = flow.within + flow.redrives * flow.patience
    if conf.RETENTION_DAYS >= 1 and lasts >= timedelta(days=conf.RETENTION_DAYS):
        yield Error(
            f"{flow.name}: may last {lasts.days} days, and inbox and outbox are kept for"
            f" {conf.RETENTION_DAYS:g}",
            hint="Raise RETENTION_DAYS, or make a saga of it.",
            id="sagas.E023",
        )


def _long(flow: Choreography) -> Iterator[CheckMessage]:
    hops = longest_from(flow)
    if hops > LONGEST:
        yield checks.Warning(
            f"{flow.name}: {hops} hops follow each other, and nobody has the whole in view",
            hint=f"Make a saga of a flow of more than {LONGEST} hops.",
            id="sagas.W021",
        )


def longest_from(flow: Choreography, seen: frozenset[str] = frozenset()) -> int:
    """Return the hops of the longest path, flows that begin with what this one tells included."""
    longest = len(flow.hops)
    for number, hop in enumerate(flow.hops, start=1):
        for other in FLOWS.values():
            if other.begins_with == hop.tells and other.name not in {*seen, flow.name}:
                longest = max(longest, number + longest_from(other, seen | {flow.name}))
    return longest
