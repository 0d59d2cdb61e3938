"""Reading streams: the history, and what the relay has not moved there yet."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from sagas.core.commands import context_of
from sagas.core.errors import SagasError
from sagas.transactions import connection_of, table, transaction


class NoStream(SagasError):
    """This names no stream: write type:id, as in orders.order:0199a3c5-…."""


class NoInstant(SagasError):
    """This is no instant: write it as 2026-11-24T15:00, with an offset if it is not in ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvent:
    """One event as it was written."""

    stream: str
    aggregate_id: UUID
    number: int
    name: str
    version: int
    payload: Any
    at: datetime
    """When it happened, in business time."""
    recorded_at: datetime
    actor: str | None
    correlation_id: str
    causation_id: str | None


TOLD = """
SELECT position, id, aggregatetype, aggregateid, number, type, version, payload, occurred_at,
    recorded_at, actor, correlation_id, causation_id
FROM {event}
UNION ALL
SELECT position, id, aggregatetype, aggregateid, sequence, type, version, payload, occurred_at,
    created_at, actor, correlation_id, causation_id
FROM {outbox} x WHERE NOT EXISTS (SELECT FROM {event} kept WHERE kept.id = x.id)
"""
"""All that a context has told, each event once."""

_OF_STREAMS = """
SELECT aggregateid, number, type, version, payload, occurred_at, recorded_at, actor,
    correlation_id, causation_id
FROM ({told}) AS told WHERE aggregatetype = %s AND aggregateid = ANY(%s)
ORDER BY aggregateid, number
"""


def told(context: str) -> str:
    """Return the query for all that a context has told."""
    return TOLD.format(event=table(context, "event"), outbox=table(context, "outbox"))


def parse(stream: str) -> tuple[str, UUID]:
    """Read the name of a stream into the type and the id of its aggregate.

    :raises NoStream: if it is none
    """
    aggregate_type, _, key = stream.rpartition(":")
    try:
        return aggregate_type, UUID(key)
    except ValueError as wrong:
        raise NoStream from wrong


def parse_instant(text: str) -> datetime:
    """Read an instant; without an offset it is in the project's time zone.

    :raises NoInstant: if it is none
    """
    try:
        read = parse_datetime(text)
        aware = read if read is None or timezone.is_aware(read) else timezone.make_aware(read)
    except (ValueError, OverflowError) as wrong:
        raise NoInstant from wrong
    if aware is None:
        raise NoInstant
    return aware


def read(aggregate_type: str, ids: Sequence[UUID]) -> dict[UUID, list[StoredEvent]]:
    """Return the events of several aggregates of one type, each in the order of its numbers."""
    context = context_of(aggregate_type)
    found: dict[UUID, list[StoredEvent]] = {key: [] for key in ids}
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            _OF_STREAMS.format(told=told(context)),
            [aggregate_type, list(ids)],
        )
        for row in cursor.fetchall():
            found[row[0]].append(
                StoredEvent(
                    stream=f"{aggregate_type}:{row[0]}",
                    aggregate_id=row[0],
                    number=row[1],
                    name=row[2],
                    version=row[3],
                    payload=json.loads(row[4]),
                    at=row[5],
                    recorded_at=row[6],
                    actor=row[7],
                    correlation_id=row[8],
                    causation_id=row[9],
                )
            )
    return found


def until(events: Sequence[StoredEvent], instant: datetime | None) -> list[StoredEvent]:
    """Return what had been told of a stream at an instant of business time.

    The stream ends before its first later event: what follows that one was not there either,
    even where the clock of its writer was behind.
    """
    if instant is None:
        return list(events)
    later = next((at for at, event in enumerate(events) if event.at > instant), len(events))
    return list(events[:later])


@contextmanager
def snapshot(context: str) -> Iterator[None]:
    """See one moment of a context's tables, however long the reading takes; change nothing."""
    with transaction(context):
        with connection_of(context).cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
        yield
