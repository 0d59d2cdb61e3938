"""Events that the benchmark tells in the name of orders, and what billing does about them."""

from dataclasses import dataclass
from typing import Any, ClassVar, Final
from uuid import UUID

from django.db import connection

from sagas.api import Event, connection_of, current_event
from sagas.outbox import stream
from sagas.outbox.starts import begin_new
from sagas.outbox.subscriptions import SUBSCRIPTIONS, Subscription

PRODUCER: Final = "orders"
CONSUMER: Final = "billing"
UNHEARD: Final = "orders.BenchUnheard"
_TEXT: Final = "x" * 60

_TABLE = """
CREATE TABLE IF NOT EXISTS public.bench_heard (
    event_id uuid NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
GRANT ALL ON public.bench_heard TO PUBLIC;
"""
_FILL = """
INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version, payload,
    occurred_at, created_at, correlation_id)
SELECT gen_random_uuid(), 'orders.bench', md5(%(of)s || n %% %(aggregates)s)::uuid,
    n / %(aggregates)s + 1, %(type)s, 1, %(payload)s::jsonb, now(), now() - interval '1 hour',
    md5(n::text)
FROM generate_series(0, %(count)s - 1) AS n ORDER BY n
"""
_DUE = (
    "INSERT INTO orders_streamdue SELECT position FROM orders_outbox"
    " WHERE published_at IS NULL ON CONFLICT DO NOTHING"
)
_AWAY = (
    "TRUNCATE orders_outbox, orders_streamdue, billing_inbox, billing_position",
    "DELETE FROM orders_customer WHERE email LIKE 'bench-%%@example.test'",
    "TRUNCATE bench_heard",
    # Else a tick would go through the history of what was measured before, and deliver it anew.
    "UPDATE sagas_consumer SET caught_up_at = now() WHERE caught_up_at IS NULL",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told(Event):
    """What billing hears."""

    name: ClassVar[str] = "orders.BenchTold"

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What billing reads of it."""

    text: str


def _write_down(_: Any) -> None:
    with connection_of(CONSUMER).cursor() as cursor:
        cursor.execute("INSERT INTO bench_heard (event_id) VALUES (%s)", [current_event().event_id])


def listen() -> None:
    """Let billing write down when it hears an event."""
    SUBSCRIPTIONS[Told.name, 1] = [
        Subscription(
            event=Told.name, version=1, context=CONSUMER, payload=Heard, handler=_write_down
        )
    ]


def make_table() -> None:
    """Make the table of what was heard."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLE)


def drop_table() -> None:
    """Drop it again."""
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS public.bench_heard")


def forget() -> None:
    """Empty outbox, inbox and positions: the servers are the benchmark's own."""
    begin_new()
    with connection.cursor() as cursor:
        for statement in _AWAY:
            cursor.execute(statement)


def fill(count: int, *, type_: str, aggregates: int, of: str = "") -> None:
    """Commit events at once, as if they had waited; about 190 bytes a row."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(
            _FILL,
            {
                "of": of,
                "aggregates": aggregates,
                "type": type_,
                "payload": f'{{"text": "{_TEXT}"}}',
                "count": count,
            },
        )
        if stream.address():
            cursor.execute(_DUE)
        cursor.execute("RESET statement_timeout")


def unpublished() -> int:
    """Return how many events wait."""
    return _count("SELECT count(*) FROM orders_outbox WHERE published_at IS NULL")


def heard() -> dict[UUID, float]:
    """Return when each event was heard, in seconds of the epoch."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT event_id, extract(epoch FROM at) FROM bench_heard")
        return {row[0]: float(row[1]) for row in cursor.fetchall()}


def heard_twice() -> int:
    """Return how many events were heard twice."""
    return _count("SELECT count(*) - count(DISTINCT event_id) FROM bench_heard")


def _count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])
