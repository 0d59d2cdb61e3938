"""The events as a stream in Redis, for readers that are not part of this project.

Off unless ``RELAY_STREAM`` says where: an address of Redis with the name of the stream as the last
part of its path. Every event comes at least once. What comes for the first time comes in the
order of its aggregate, so a reader keeps one number an aggregate and skips what is not above it.

Deliveries within the project do not come from here, and do not wait for it.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any, Final
from uuid import UUID

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.outbox.entries import Entries, send
from sagas.outbox.subscriptions import REQUEST
from sagas.transactions import connection_of, table

log = logging.getLogger(__name__)

FIELDS: Final = (
    "id",
    "type",
    "traceparent",
    "aggregatetype",
    "aggregateid",
    "sequence",
    "version",
    "occurred_at",
    "correlation_id",
    "causation_id",
    "payload",
)
"""Of an entry, beside ``producer``; named like the outbox's columns."""
# In which form the columns after the first five are read. Text is what the stream holds.
_COLUMNS: Final = """, sequence, version,
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    correlation_id, coalesce(causation_id, ''), payload::text"""
_SERVER: Final = re.compile(r"(rediss?://[^/]|unix:///)")
PATIENCE: Final = 2.0
"""Seconds for an answer."""
HELD: Final = 0.2
"""Seconds after which an event is looked at again that came before the one in front of it."""

_BEFORE = """
SELECT o.aggregatetype, o.aggregateid FROM {outbox} o
JOIN unnest(%(types)s::text[], %(ids)s::uuid[], %(numbers)s::bigint[])
    AS wanted (aggregatetype, aggregateid, sequence)
    USING (aggregatetype, aggregateid, sequence)
WHERE o.published_at IS NULL
"""

_GIVE_BACK = """
UPDATE {outbox} SET leased_until = clock_timestamp() + make_interval(secs => %(held)s),
    attempts = greatest(attempts - 1, 0)
WHERE position IN (SELECT position FROM {outbox} WHERE position = ANY(%(positions)s)
    ORDER BY position FOR UPDATE)
"""

Row = tuple[Any, ...]
"""Position, id, type, trace and aggregate of an event, what a stream needs of it, and whether it
is fresh."""


class UnfitAddress(SagasError):
    """``RELAY_STREAM`` is no address of a stream."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stream is."""

    url: str
    name: str


def address() -> Address | None:
    """Return where the events go; None when they go to no stream.

    :raises UnfitAddress: if the setting names no stream in a Redis
    """
    chosen = getattr(settings, "RELAY_STREAM", None)
    return _parsed(chosen) if chosen else None


@cache
def _parsed(chosen: str) -> Address:
    where, question, query = chosen.partition("?")
    url, _, name = where.rpartition("/")
    if not _SERVER.match(url) or not name:
        raise UnfitAddress(chosen)
    return Address(f"{url}{question}{query}", name)


@cache
def _client(url: str) -> redis.Redis:
    # Sent again without a word, a batch would be there twice; the lease is what repeats it.
    return redis.Redis.from_url(
        url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
    )


def columns() -> str:
    """Return what a relay has to read of an event beside what it always reads."""
    return _COLUMNS if address() else ""


def in_order(context: str, rows: list[Row]) -> list[Row]:
    """Keep those of a batch that may be published, as far as a stream asks for an order.

    An event goes when the one in front of it is published, or goes with it. Other relays may have
    that one; then this one is given back, to be looked at again a moment later.
    """
    if not rows or not address():
        return rows
    leased: dict[tuple[str, UUID], list[Row]] = defaultdict(list)
    for row in rows:
        leased[row[4], row[5]].append(row)
    waiting = _waiting(context, {key: found[0][6] - 1 for key, found in leased.items()})
    kept = {
        row[0]
        for key, found in leased.items()
        if key not in waiting
        for row in _without_a_hole(found)
    }
    held = [row[0] for row in rows if row[0] not in kept]
    if held:
        with connection_of(context).cursor() as cursor:
            statement = _GIVE_BACK.format(outbox=table(context, "outbox"))
            cursor.execute(statement, {"held": HELD, "positions": held})
    return [row for row in rows if row[0] in kept]


def _waiting(context: str, before: dict[tuple[str, UUID], int]) -> set[tuple[str, UUID]]:
    """Return the aggregates of which the event of this number is not published."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            _BEFORE.format(outbox=table(context, "outbox")),
            {
                "types": [type_ for type_, _ in before],
                "ids": [id_ for _, id_ in before],
                "numbers": list(before.values()),
            },
        )
        return set(cursor.fetchall())


def _without_a_hole(found: list[Row]) -> list[Row]:
    first = found[0][6]
    numbered = enumerate(found, first)
    return [row for _, row in takewhile(lambda pair: pair[1][6] == pair[0], numbered)]


def append(context: str, rows: Sequence[Row]) -> bool:
    """Write events into the stream, all of them or none; False when it did not take them.

    True without a stream. After False some may be there all the same: the answer may be lost.
    """
    found = address()
    if found is None:
        return True
    entries = Entries(found.name, int(conf.STREAM_LENGTH), {"producer": context}, FIELDS)
    told = [entries.command(row[1:-1]) for row in rows if not row[4].endswith(f".{REQUEST}")]
    try:
        # One transaction: a Redis out of memory must not take the second event without the first.
        send(_client(found.url), told)
    except redis.RedisError as error:
        log.warning("stream_unreached", extra={"error": str(error)})
        return False
    return True
