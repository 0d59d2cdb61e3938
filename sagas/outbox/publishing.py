"""Writing an event into the outbox, in the transaction of the change it tells of."""

from typing import Any
from uuid import UUID

from django.db import models
from psycopg.types.json import Jsonb

from sagas import clock
from sagas.choreography import opening
from sagas.core import codec
from sagas.core.commands import context_of
from sagas.core.errors import SagasError
from sagas.core.events import Event
from sagas.correlation import current_or_new
from sagas.ids import uuid7
from sagas.models.contextual import Aggregate
from sagas.outbox import bell, exchange, stream
from sagas.statements import cursor_of
from sagas.transactions import after_commit_once, connection_of, table, transaction_required


class ForeignEvent(SagasError):
    """A context may publish only its own events, about its own aggregates."""


class UnsavedAggregate(SagasError):
    """Save the aggregate before an event about it is published."""


class VersionConflict(SagasError):
    """Somebody else has told an event of the aggregate since it was read."""

    def __init__(
        self, message: str | None = None, *, stream: str = "", expected: int = 0, actual: int = 0
    ) -> None:
        """Say which stream it is, which number was expected and which is there."""
        super().__init__(message or f"{stream} is at event {actual}, not at {expected}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


# The counter is raised under the aggregate's row lock, so that the order of the numbers is the
# order of the commits, and a number once used is never missing.
_PUBLISH = """
WITH aggregate AS (
    UPDATE {aggregate} SET event_sequence = event_sequence + 1
    WHERE id = %(aggregate_id)s
        AND event_sequence = coalesce(%(expected)s::bigint, event_sequence)
    RETURNING event_sequence),
told AS (
    INSERT INTO {outbox} (id, aggregatetype, aggregateid, sequence, type, version, payload,
        occurred_at, correlation_id, causation_id, traceparent, actor,
        outside_due)
    SELECT %(id)s, %(aggregate_type)s, %(aggregate_id)s, event_sequence, %(type)s, %(version)s,
        %(payload)s, %(occurred_at)s, %(correlation_id)s, %(causation_id)s, %(traceparent)s,
        %(actor)s, %(outside_due)s
    FROM aggregate RETURNING position, sequence){due}
SELECT sequence FROM told
"""
_DUE = """,
due AS (INSERT INTO {due} (position) SELECT position FROM told)"""


def publish(event: Event, *, aggregate: Aggregate, expected: int | None = None) -> UUID:
    """Tell the world what has happened, if and when the transaction commits; return the event id.

    :param expected: the number of the aggregate's last event, as the caller knows it; whoever
        publishes in the meantime wins. By default the event follows whatever is there.
    :raises OutsideTransaction: if no transaction is open
    :raises ForeignEvent: if the event belongs to another context
    :raises UnsavedAggregate: if the aggregate has no row
    :raises VersionConflict: if its last event has another number than expected
    """
    context = transaction_required()
    if context_of(event.name) != context:
        raise ForeignEvent(f"{event.name} published in a transaction of {context}")
    if context_of(aggregate.aggregate_type) != context:
        raise ForeignEvent(f"{event.name} tells of {aggregate.aggregate_type}")
    event_id = uuid7()
    parameters = _parameters(event, aggregate, event_id) | {"expected": expected}
    quoted = connection_of(context).ops.quote_name(_table_of(aggregate))
    due = _DUE.format(due=table(context, "streamdue")) if stream.address() else ""
    sql = _PUBLISH.format(aggregate=quoted, outbox=table(context, "outbox"), due=due)
    with cursor_of(context) as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
        if row is None:
            cursor.execute(
                f"SELECT event_sequence FROM {quoted} WHERE id = %s",  # noqa: S608
                [aggregate.aggregate_id],
            )
            raise _refused(aggregate, expected, cursor.fetchone())
    aggregate.event_sequence = row[0]
    opening.open_flows(event, parameters)
    after_commit_once("relay", lambda: bell.ring(context))
    return event_id


def _refused(
    aggregate: Aggregate, expected: int | None, found: tuple[int] | None
) -> UnsavedAggregate | VersionConflict:
    name, key = aggregate.aggregate_type, aggregate.aggregate_id
    if found is None or expected is None:
        return UnsavedAggregate(f"{name} {key}")
    return VersionConflict(stream=f"{name}:{key}", expected=expected, actual=found[0])


def _table_of(aggregate: models.Model) -> str:
    return aggregate._meta.db_table


def _parameters(event: Event, aggregate: Aggregate, event_id: UUID) -> dict[str, Any]:
    correlation = current_or_new()
    return {
        "id": event_id,
        "aggregate_id": aggregate.aggregate_id,
        "aggregate_type": aggregate.aggregate_type,
        "type": event.name,
        "version": event.version,
        "payload": Jsonb(codec.encode(event)),
        "occurred_at": clock.now(),
        "correlation_id": correlation.correlation_id,
        "causation_id": correlation.causation_id,
        "traceparent": correlation.traceparent,
        "actor": correlation.actor,
        "outside_due": exchange.is_on(),
    }
