"""Consumers read events into dataclasses of their own: they must be a part of the producer's."""

import dataclasses
import importlib
import typing

import pytest

from sagas.core.events import Event
from sagas.outbox.subscriptions import SUBSCRIPTIONS
from tests.architecture.source import CONTEXTS


def events():
    """Every event of every context, by name and version."""
    found = {}
    for context in CONTEXTS:
        for value in vars(importlib.import_module(f"{context}.events")).values():
            if isinstance(value, type) and issubclass(value, Event) and value is not Event:
                found[value.name, value.version] = value
    return found


EVENTS = events()
# The engine listens too where contexts are detached; what it is asked is no event of theirs.
LISTENING = [one for listed in SUBSCRIPTIONS.values() for one in listed if one.context in CONTEXTS]


@pytest.mark.parametrize("event", EVENTS.values(), ids=lambda event: event.name)
def test_an_event_is_named_after_its_context_and_its_class(event):
    context = event.__module__.partition(".")[0]

    assert event.name == f"{context}.{event.__name__}"


@pytest.mark.parametrize("listening", LISTENING, ids=lambda one: one.handler.__qualname__)
def test_a_consumer_reads_only_what_the_producer_writes(listening):
    event = EVENTS[listening.event, listening.version]
    written = typing.get_type_hints(event)

    for field in dataclasses.fields(listening.payload):
        read = typing.get_type_hints(listening.payload)[field.name]
        assert written.get(field.name) == read, field.name


def test_somebody_listens():
    assert LISTENING
