"""What a projection is: a table of its context, and for each event what it puts into it."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.apps import apps
from django.db import models

from sagas.core import codec, upcasting
from sagas.core.commands import context_of
from sagas.core.definition import InvalidDefinition
from sagas.core.errors import SagasError
from sagas.models.projection import ProjectionBase, ProjectionRow
from sagas.outbox.past import PastEvent
from sagas.outbox.subscriptions import (
    ENVELOPE,
    Envelope,
    Subscription,
    current_event,
    payload_of,
    subscribe,
)
from sagas.transactions import connection_of

E = TypeVar("E")

PROJECTIONS: dict[str, "Projection"] = {}

_UPSERT = """
INSERT INTO {table} AS r ({columns}, seen)
VALUES ({values}, jsonb_build_object(%s::text, %s::bigint))
ON CONFLICT ({key}) DO UPDATE SET {changes}, seen = r.seen || excluded.seen
WHERE coalesce((r.seen ->> %s)::bigint, 0) < %s
"""


class UnknownProjection(SagasError):
    """No projection of this name is part of the code that runs here."""


class UnreadableEvent(SagasError):
    """The projection listens to this event, but not in this version."""


class Put:
    """What an event puts into a projection: columns of the one row that has this key.

    Columns that are not named keep what they have. A column belongs to the events of one kind of
    aggregate: those come in order, events of different aggregates do not.
    """

    __slots__ = ("columns", "key")

    def __init__(self, key: Any, **columns: Any) -> None:
        """Keep the key and what its row is to say."""
        self.key = key
        self.columns = columns


class Projection:
    """A read model: a name, a version, a table, and what each event puts into it."""

    def __init__(self, name: str, *, version: int, into: type[ProjectionRow]) -> None:
        """Declare it, in the ``projections`` of the app that has the table.

        :param version: raise it when the handlers put something else than before; the table then
            counts as out of date until it is built anew
        :raises InvalidDefinition: if another has the name, or it is not named after its context
        """
        if name in PROJECTIONS:
            raise InvalidDefinition(f"{name} is declared twice")
        if context_of(name) != into._meta.app_label:
            raise InvalidDefinition(f"{name}: the table is one of {into._meta.app_label}")
        self.name = name
        self.version = version
        self.into = into
        self.context = into._meta.app_label
        self.table = into._meta.db_table
        self.handlers: dict[tuple[str, int], tuple[type, Callable[[Any], Put | None]]] = {}
        PROJECTIONS[name] = self

    def on(
        self, event: str, version: int = 1
    ) -> Callable[[Callable[[E], Put | None]], Callable[[E], Put | None]]:
        """Say what an event puts into the table, or None for nothing.

        The function only answers. The engine writes what it answers: where the table lives, in
        the transaction that also moves the position; and while the table is built anew, beside it.
        """

        def register(function: Callable[[E], Put | None]) -> Callable[[E], Put | None]:
            @wraps(function)
            def put(seen: E) -> None:
                self._write(self.table, function(seen), current_event())

            payload = payload_of(function, event)
            subscribe(
                Subscription(
                    event=event,
                    version=version,
                    context=self.context,
                    payload=payload,
                    handler=put,
                    reader=self.name,
                )
            )
            self.handlers[event, version] = (payload, function)
            return function

        return register

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the events that it is made of."""
        return frozenset(name for name, _ in self.handlers)

    def producers(self) -> dict[str, frozenset[str]]:
        """Return the contexts that it is fed by, each with the names of its events."""
        found: dict[str, set[str]] = {}
        for name in self.names:
            found.setdefault(context_of(name), set()).add(name)
        return {producer: frozenset(names) for producer, names in sorted(found.items())}

    def put(self, table: str, event: PastEvent) -> None:
        """Put what an event says into a table that is laid out like the projection's own.

        :raises UnreadableEvent: if no handler reads its version
        """
        envelope = event.envelope
        written = envelope.version
        listened = [version for name, version in self.handlers if name == envelope.name]
        version = upcasting.nearest(envelope.name, written, listened)
        if version is None:
            raise UnreadableEvent(f"{self.name}: {envelope.name} version {written}")
        payload, function = self.handlers[envelope.name, version]
        told = upcasting.upcast(envelope.name, event.payload, written, version)
        token = ENVELOPE.set(envelope)
        try:
            answer = function(codec.decode(payload, told, tolerant=True))
        finally:
            ENVELOPE.reset(token)
        self._write(table, answer, envelope)

    def _write(self, table: str, answer: Put | None, envelope: Envelope) -> None:
        if answer is None:
            return
        connection = connection_of(self.context)
        quote = connection.ops.quote_name
        key = self.into._meta.pk
        fields = {key: answer.key} | {
            self.into._meta.get_field(name): value for name, value in answer.columns.items()
        }
        stream = f"{envelope.aggregate_type}:{envelope.aggregate_id}"
        names = [quote(_column(field)) for field in fields]
        sql = _UPSERT.format(
            table=quote(table),
            columns=", ".join(names),
            values=", ".join(["%s"] * len(names)),
            key=names[0],
            changes=", ".join(f"{name} = excluded.{name}" for name in names),
        )
        values: list[Any] = [
            field.get_db_prep_save(value, connection)  # type: ignore[union-attr]
            for field, value in fields.items()
        ]
        seen: list[Any] = [stream, envelope.sequence]
        with connection.cursor() as cursor:
            cursor.execute(sql, [*values, *seen, *seen])


def _column(field: Any) -> str:
    column: str = field.column
    return column


def projection(name: str) -> Projection:
    """Return a projection.

    :raises UnknownProjection: if the running code does not have it
    """
    found = PROJECTIONS.get(name)
    if found is None:
        raise UnknownProjection(f"{name}; there are {', '.join(sorted(PROJECTIONS)) or 'none'}")
    return found


def table_of_states(context: str) -> type[models.Model] | None:
    """Return the model of a context's table of projections, if it has one."""
    models_of = apps.get_app_config(context).get_models()
    return next((model for model in models_of if issubclass(model, ProjectionBase)), None)
