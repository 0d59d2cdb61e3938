"""Which events there are: the dataclasses in ``events.py`` of every context."""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from django.apps import apps

from sagas.contexts import with_tables
from sagas.core import codec
from sagas.core.errors import SagasError
from sagas.core.events import Event
from sagas.core.upcasting import upcast


class UnknownEvent(SagasError):
    """No context of this release tells such an event."""


def events() -> Iterator[type[Event]]:
    """Return every event of every context, in every version that the code has."""
    for label in with_tables():
        name = f"{apps.get_app_config(label).name}.events"
        if find_spec(name) is None:
            continue
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, Event) and value.__module__ == name:
                yield value


@cache
def newest() -> dict[str, type[Event]]:
    """Return the newest version of every event, by name."""
    found: dict[str, type[Event]] = {}
    for event in events():
        if event.name not in found or found[event.name].version < event.version:
            found[event.name] = event
    return found


def read_as_newest(name: str, version: int, payload: Mapping[str, Any]) -> Event:
    """Return a stored event as the newest version of it, whenever it was written.

    :raises UnknownEvent: if this release has no event of this name
    :raises NoUpcaster: if nothing leads from its version to the newest
    :raises CannotDecode: if the payload is not what its version promises
    """
    event = newest().get(name)
    if event is None:
        raise UnknownEvent(f"{name} version {version}")
    return codec.decode(event, upcast(name, payload, version, event.version), tolerant=True)
