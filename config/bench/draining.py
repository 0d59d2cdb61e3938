"""How fast one relay empties an outbox: into a stream, and into delivery messages."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import redis
from celery import current_app
from django.conf import settings

from config.bench import news
from config.bench.machine import DRIVER, Cost, Meter, cost
from config.bench.outcome import Wrong
from sagas.orchestration import canvas
from sagas.outbox.relay import EVENTS, relay_batch
from sagas.outbox.streaming import send_batch

STREAM: Final = "bench-events"
AGGREGATES: Final = 1000
MESSAGES: Final = 50
"""Ids in one delivery message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drain:
    """One emptied outbox."""

    events: int
    wall: float
    cost: Cost

    @property
    def per_second(self) -> float:
        """Return the events that left in a second."""
        return self.events / self.wall

    @property
    def cpu_us(self) -> float:
        """Return the CPU microseconds of relay, PostgreSQL and Valkey an event."""
        return 1e6 * sum(self.cost.seconds.values()) / self.events

    @property
    def wal_bytes(self) -> float:
        """Return the bytes of write-ahead log an event."""
        return self.cost.wal_bytes / self.events


def stream_address() -> str:
    """Return the address of the benchmark's stream in the Redis of the settings."""
    url, question, query = settings.REDIS_URL.partition("?")
    return f"{url}/{STREAM}{question}{query}"


@contextmanager
def chosen(*, stream: bool, **timing: float) -> Iterator[None]:
    """Let the relay in this process write to the stream or not, with timing of its own."""
    kept = settings.RELAY_STREAM, settings.SAGAS
    settings.RELAY_STREAM = stream_address() if stream else None
    settings.SAGAS = {**settings.SAGAS, **timing}
    try:
        yield
    finally:
        settings.RELAY_STREAM, settings.SAGAS = kept


def to_stream(events: int, *, relayed: bool = False) -> Drain:
    """Empty an outbox into the stream.

    :param relayed: the same process also does what the relay does
    :raises Wrong: if the stream has not got every event
    """
    news.forget()
    with redis.Redis.from_url(settings.REDIS_URL) as client, chosen(stream=True):
        client.delete(STREAM)
        news.fill(events, type_=news.UNHEARD, aggregates=AGGREGATES)
        drain = _timed(events, _sent_and_relayed if relayed else _sent)
        if client.xlen(STREAM) != events:
            raise Wrong(f"{client.xlen(STREAM)} of {events} events are in the stream")
        client.delete(STREAM)
    return drain


def to_messages(events: int, size: int) -> Drain:
    """Empty an outbox into delivery messages that carry as many ids.

    :raises Wrong: if messages are missing
    """
    news.forget()
    news.fill(events, type_=news.Told.name, aggregates=AGGREGATES)
    _purge()
    with chosen(stream=False, DELIVERY_SIZE=size):
        drain = _timed(events, _relayed)
    messages, expected = canvas.depth(EVENTS), -(-events // size)
    _purge()
    if messages < expected:
        raise Wrong(f"{messages} of {expected} messages are in the queue")
    return drain


def _sent() -> int:
    return send_batch(news.PRODUCER) or 0


def _relayed() -> int:
    return relay_batch(news.PRODUCER)


def _sent_and_relayed() -> int:
    return _sent() + _relayed()


def _timed(events: int, batch: Callable[[], int]) -> Drain:
    meter = Meter({})
    before = meter.read()
    began, driver = time.monotonic(), time.process_time()
    while batch():
        pass
    driver = time.process_time() - driver
    wall = time.monotonic() - began
    spent = cost(before, meter.read())
    left = news.unpublished() if batch is not _sent else 0
    if left:
        raise Wrong(f"{left} events are not published")
    spent = replace(spent, seconds={**spent.seconds, DRIVER: driver})
    return Drain(events=events, wall=wall, cost=spent)


def _purge() -> None:
    with current_app.connection_for_write() as link:
        channel: Any = link.default_channel
        channel.queue_purge(EVENTS)


def paired(
    rounds: int, first: Callable[[], Drain], second: Callable[[], Drain]
) -> list[tuple[Drain, Drain]]:
    """Run both in turn, the other one first in every second round."""
    pairs: list[Any] = []
    for number in range(rounds):
        if number % 2:
            other = second()
            pairs.append((first(), other))
        else:
            pairs.append((first(), second()))
    return pairs
