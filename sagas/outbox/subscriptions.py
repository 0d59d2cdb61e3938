"""Which context listens to which events, by name and version."""

import typing
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from django.apps import apps

from sagas.core import codec, upcasting
from sagas.core.commands import context_of
from sagas.core.definition import InvalidDefinition, check_callable
from sagas.core.errors import SagasError
from sagas.correlation import Correlation

E = TypeVar("E")
Start = Literal["first", "now"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """One handler of one event."""

    event: str
    version: int
    context: str
    payload: type
    handler: Callable[[Any], None]
    start: Start = "first"
    reader: str = ""
    """The projection that it belongs to; empty for the handlers of a context, which are one."""

    def read(self, written: int, payload: Any) -> Any:
        """Return what the handler is given: the fields it needs, in the version it listens to."""
        payload = upcasting.upcast(self.event, payload, written, self.version)
        return codec.decode(self.payload, payload, tolerant=True)

    @property
    def handler_name(self) -> str:
        """Return where the handler stands, as a dotted name."""
        return f"{self.handler.__module__}.{self.handler.__qualname__}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """What is known of an event beside its payload."""

    event_id: UUID
    name: str
    version: int
    """In which it was written; a handler of a later one gets the payload of its own."""
    aggregate_type: str
    aggregate_id: UUID
    sequence: int
    occurred_at: datetime
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    recorded_at: datetime
    """By the database's clock, which is nobody's to set."""
    actor: str | None
    position: int
    """In the events of its producer."""

    @property
    def correlation(self) -> Correlation:
        """Return what its handlers work under: whoever brings it, the event is the cause."""
        return Correlation(
            correlation_id=self.correlation_id,
            causation_id=str(self.event_id),
            traceparent=self.traceparent,
        )


SUBSCRIPTIONS: dict[tuple[str, int], list[Subscription]] = {}

REQUEST = "saga_request"
"""What a context asks of the engine is told of this kind of aggregate, and is nobody else's."""

ENVELOPE: ContextVar[Envelope | None] = ContextVar("envelope", default=None)


class NotYet(SagasError):
    """A handler's word that another release has to handle the event: no attempt is counted."""


class NotHandlingAnEvent(SagasError):
    """No event is being handled here."""


def on(
    event: str, version: int = 1, *, start: Start = "first"
) -> Callable[[Callable[[E], None]], Callable[[E], None]]:
    """Subscribe a function of an app's ``handlers.py`` to an event, by its name.

    The annotation of its one parameter is a dataclass of the consumer's own with the fields it
    needs; further fields of the event are ignored. It runs once per event, in a transaction of
    its context, together with the inbox row.

    :param start: where a context begins that has never listened to this producer: with the first
        event that was ever told, or with those told from now on; one word for each producer
    """

    def register(function: Callable[[E], None]) -> Callable[[E], None]:
        subscribe(
            Subscription(
                event=event,
                version=version,
                context=_context_of(function.__module__),
                payload=payload_of(function, event),
                handler=function,
                start=start,
            )
        )
        return function

    return register


def payload_of(function: Callable[..., Any], event: str) -> type:
    """Return the dataclass that a handler reads an event into.

    :raises InvalidDefinition: if it does not take one dataclass
    """
    hints = typing.get_type_hints(function)
    hints.pop("return", None)
    payload = next(iter(hints.values()), None)
    if len(hints) != 1 or not (isinstance(payload, type) and is_dataclass(payload)):
        raise InvalidDefinition(f"{function.__qualname__}: takes one dataclass, the event")
    check_callable(function, 1, f"handler of {event}")
    return payload


def subscribe(subscription: Subscription) -> None:
    """Add a handler to those of its context.

    :raises InvalidDefinition: if the context begins elsewhere with events of the same producer
    """
    if subscription.start not in typing.get_args(Start):
        raise InvalidDefinition(f"start={subscription.start!r}: say first or now")
    producer = context_of(subscription.event)
    begun = start_of(subscription.context, producer)
    if begun not in (None, subscription.start):
        raise InvalidDefinition(
            f"{subscription.context} begins with the {begun} event of {producer} in one place and"
            f" with {subscription.start} in another; a position is one for all its handlers"
        )
    SUBSCRIPTIONS.setdefault((subscription.event, subscription.version), []).append(subscription)


def start_of(consumer: str, producer: str) -> Start | None:
    """Return where a context says that it begins with a producer; None if it does not listen."""
    for (event, _), subscriptions in SUBSCRIPTIONS.items():
        if context_of(event) == producer:
            for subscription in subscriptions:
                if subscription.context == consumer:
                    return subscription.start
    return None


def listeners() -> dict[tuple[str, str], frozenset[str]]:
    """Return the names of the events that each consumer listens to, by consumer and producer."""
    found: dict[tuple[str, str], set[str]] = {}
    for (event, _), subscriptions in SUBSCRIPTIONS.items():
        for subscription in subscriptions:
            found.setdefault((subscription.context, context_of(event)), set()).add(event)
    return {pair: frozenset(names) for pair, names in sorted(found.items())}


def _context_of(module: str) -> str:
    """Return the label of the app that a module belongs to, wherever the app lies.

    Its tables and queues bear the label, and the module's path need not begin with it.
    """
    app = apps.get_containing_app_config(module)
    return app.label if app is not None else module.partition(".")[0]


def consumers_of(event: str) -> list[str]:
    """Return the contexts that listen to an event, in any of its versions."""
    found = {
        subscription.context
        for (name, _), subscriptions in SUBSCRIPTIONS.items()
        if name == event
        for subscription in subscriptions
    }
    return sorted(found)


def readers_of(event: str, version: int, context: str) -> list[Subscription]:
    """Return the handlers that get an event which was written in this version.

    Each reader hears it once: a projection, and the handlers of the context together, in the
    nearest of the versions they listen to. None gets it as long as one of them can read none.
    """
    versions: dict[str, dict[int, list[Subscription]]] = {}
    for (name, known), subscriptions in SUBSCRIPTIONS.items():
        for one in subscriptions if name == event else ():
            if one.context == context:
                versions.setdefault(one.reader, {}).setdefault(known, []).append(one)
    found: list[Subscription] = []
    for listened in versions.values():
        nearest = upcasting.nearest(event, version, listened)
        if nearest is None:
            return []
        found += listened[nearest]
    return found


def current_event() -> Envelope:
    """Return the envelope of the event that is being handled.

    :raises NotHandlingAnEvent: outside a handler
    """
    envelope = ENVELOPE.get()
    if envelope is None:
        raise NotHandlingAnEvent
    return envelope
