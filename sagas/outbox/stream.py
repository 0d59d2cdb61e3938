"""The events as a stream in Redis, for readers that are not part of this project.

Off unless ``RELAY_STREAM`` says where: an address of Redis with the name of the stream as the last
part of its path. Deliveries within the project do not come from here, and do not wait for it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.outbox.entries import Entries, send

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
COLUMNS: Final = """id::text, type, coalesce(traceparent, ''), aggregatetype, aggregateid::text,
    sequence::text, version::text,
    to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    correlation_id, coalesce(causation_id, ''), payload::text"""
"""Their values, as the texts that the stream holds."""
_SERVER: Final = re.compile(r"(rediss?://[^/]|unix:///)")
PATIENCE: Final = 2.0
"""Seconds for an answer."""


class UnfitAddress(SagasError):
    """``RELAY_STREAM`` is no address of a stream."""


class Away(SagasError):
    """The stream did not take the events, or its answer was lost: some may be there."""


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
    # Sent again without a word, a batch would be there twice; the row that stays repeats it.
    return redis.Redis.from_url(
        url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
    )


def append(context: str, events: Sequence[Sequence[Any]]) -> None:
    """Write events into the stream, all of them or none.

    :param events: the values of ``COLUMNS`` of each
    :raises Away: if it did not take them
    """
    found = address()
    if found is None or not events:
        return
    entries = Entries(found.name, int(conf.STREAM_LENGTH), {"producer": context}, FIELDS)
    try:
        # One transaction: a Redis out of memory must not take the second event without the first.
        send(_client(found.url), [entries.command(event) for event in events])
    except redis.RedisError as error:
        raise Away(str(error)) from error
