"""Many events through one outbox: the tables must not grow with what has passed through them."""

import time
from collections.abc import Callable
from typing import Any, Final

import redis
from django.conf import settings
from django.db import connection

from config.bench import news
from config.bench.draining import AGGREGATES, STREAM, chosen
from config.bench.outcome import Wrong
from sagas.ids import uuid7
from sagas.outbox.delivery import deliver
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay_batch
from sagas.outbox.republish import republish
from sagas.outbox.streaming import send_batch

PORTION: Final = 20_000
HEARD: Final = 50
"""One in so many events is also delivered and applied."""
TABLES: Final = ("orders_outbox", "orders_streamdue", "billing_inbox", "billing_position")
_WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"


def run(events: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Let events pass through in portions, each written, relayed, streamed, applied, settled and pruned.

    Nothing is retained here, so that what is left after a portion is only what the tables keep of
    rows that are gone. Some events are of few aggregates, as a hot one would be.

    :raises Wrong: if an event is left behind
    """
    news.forget()
    wal, began = _number(_WAL), time.monotonic()
    sizes: list[dict[str, int]] = []
    passed, run_id = 0, uuid7()
    while passed < events:
        with chosen(stream=True, RETENTION_DAYS=0, REPUBLISH_AFTER=0, STREAM_LENGTH=10_000):
            # Of aggregates that no earlier run had: the history still has theirs.
            _pass_through(min(PORTION, events - passed), f"{passed} {run_id}")
        passed += min(PORTION, events - passed)
        sizes.append({name: _size(name) for name in TABLES})
        say(f"soak: {passed} of {events}, outbox {sizes[-1]['orders_outbox'] // 1024} kB")
    left = news.unpublished()
    if left:
        raise Wrong(f"{left} events are not published")
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(STREAM)
    half = len(sizes) // 2
    return {
        "events": events,
        "portion": PORTION,
        "events_per_second": float(f"{events / (time.monotonic() - began):.4g}"),
        "wal_bytes": float(f"{(_number(_WAL) - wal) / events:.4g}"),
        "autovacuums": {name: _number(_VACUUMS.format(table=name)) for name in TABLES},
        "most_kb_first_half": _most(sizes[: half or 1]),
        "most_kb_second_half": _most(sizes[half:]),
        "rows_left": {name: _number(f"SELECT count(*) FROM {name}") for name in TABLES},  # noqa: S608 - constants
    }


_VACUUMS = "SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = '{table}'"


def _pass_through(count: int, of: str) -> None:
    told = max(count // HEARD, 1)
    news.fill(count - told, type_=news.UNHEARD, aggregates=AGGREGATES, of=f"unheard {of}")
    news.fill(told, type_=news.Told.name, aggregates=max(told // 4, 1), of=f"told {of}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM orders_outbox WHERE type = %s", [news.Told.name])
        ids = [row[0] for row in cursor.fetchall()]
    while relay_batch(news.PRODUCER):
        pass
    while send_batch(news.PRODUCER):
        pass
    for start in range(0, len(ids), 50):
        deliver(news.PRODUCER, news.CONSUMER, ids[start : start + 50])
    republish()
    prune()


def _size(name: str) -> int:
    return _number(f"SELECT pg_total_relation_size('{name}')")


def _number(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def _most(sizes: list[dict[str, int]]) -> dict[str, int]:
    return {name: max(each[name] for each in sizes) // 1024 for name in TABLES}


def table(found: dict[str, Any]) -> str:
    """Write the figures for a terminal."""
    passed = (
        f"{found['events']} events in portions of {found['portion']}: "
        f"{found['events_per_second']:g} a second, {found['wal_bytes']:g} bytes of WAL an event"
    )
    heading = f"{'greatest size, kB':<24}{'first half':>12}{'second half':>13}"
    lines = ["", passed, f"{heading}{'vacuumed':>10}{'rows':>8}"]
    lines += [
        f"{name:<24}{found['most_kb_first_half'][name]:>12}{found['most_kb_second_half'][name]:>13}"
        f"{found['autovacuums'][name]:>10}{found['rows_left'][name]:>8}"
        for name in TABLES
    ]
    return "\n".join(lines)
