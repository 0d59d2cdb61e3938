"""Who tells what, and who listens: read from the code that runs, by name and version."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.apps import AppConfig, apps

from sagas.core.commands import context_of
from sagas.core.events import Event
from sagas.outbox import subscriptions
from sagas.outbox.subscriptions import Subscription
from sagas.transactions import ENGINE

Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One version of an event: who publishes it, and who hears it."""

    name: str
    version: int
    event: type[Event] | None
    """The class; None where somebody listens to what nobody publishes."""
    listeners: tuple[Subscription, ...]

    @property
    def context(self) -> str:
        """Return the context whose event it is."""
        return context_of(self.name)

    @property
    def says(self) -> str:
        """Return what it means, as its class says."""
        return first_line(self.event)

    @property
    def outside(self) -> str:
        """Return who reads it outside of the contexts, if that was declared."""
        return self.event.outside if self.event else ""

    @property
    def label(self) -> str:
        """Return name and version as they are written."""
        return f"{self.name} v{self.version}"


def event_map() -> tuple[Told, ...]:
    """Return every event that is published or listened to, in the order of their names."""
    published = emitted()
    heard = {key: ones for key in subscriptions.SUBSCRIPTIONS if (ones := _listeners(key))}
    return tuple(
        Told(
            name=name,
            version=version,
            event=published.get((name, version)),
            listeners=heard.get((name, version), ()),
        )
        for name, version in sorted({*published, *heard})
    )


def emitted() -> dict[Key, type[Event]]:
    """Return the event classes of the installed apps."""
    return {(event.name, event.version): event for event in _classes(Event)}


def _classes(base: type[Event]) -> Iterator[type[Event]]:
    for found in base.__subclasses__():
        yield from _classes(found)
        # A dataclass with slots is made twice, and the first stays until it is collected.
        real = getattr(sys.modules.get(found.__module__), found.__name__, None) is found
        if real and hasattr(found, "name") and apps.get_containing_app_config(found.__module__):
            yield found


def _listeners(key: Key) -> tuple[Subscription, ...]:
    """Return who handles an event, without the engine: what it is asked is no event of theirs."""
    found = [one for one in subscriptions.SUBSCRIPTIONS.get(key, ()) if one.context != ENGINE]
    return tuple(sorted(found, key=lambda one: (one.context, one.handler.__qualname__)))


def first_line(thing: object) -> str:
    """Return the first sentence of what a class or function says about itself."""
    return (thing.__doc__ or "").strip().partition("\n")[0] if thing is not None else ""


def places_of(event: type[Event]) -> tuple[str, ...]:
    """Return the functions that publish an event, as ``orders/steps.py: confirm_order``."""
    app = apps.get_containing_app_config(event.__module__)
    return tuple(place for names, place in _publishing(app) if event.__name__ in names)


@cache
def _publishing(app: AppConfig) -> tuple[tuple[frozenset[str], str], ...]:
    """Return each function of an app that publishes, with the names that it uses."""
    root = Path(app.path)
    return tuple(
        (_names(node), f"{path.relative_to(root.parent)}: {node.name}")
        for path in sorted(root.rglob("*.py"))
        if "migrations" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and _calls_publish(node)
    )


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def _calls_publish(node: ast.AST) -> bool:
    calls = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id == "publish" for call in calls)
