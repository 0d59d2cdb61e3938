"""How far each context is behind with the events it listens to."""

from dataclasses import dataclass
from typing import Any, Final

from sagas.answering import Answering
from sagas.outbox import starts
from sagas.outbox.republish import positions_of
from sagas.outbox.subscriptions import listeners, start_of
from sagas.transactions import ENGINE, alias_of, connection_of, table

MOST: Final = 10_000
"""So many events of a producer are counted for one who listens, the oldest first.

Where the two have databases of their own, so many are compared, applied or not.
"""

# Two indexes have what no consumer may have applied: what is not sent, and what is not settled.
# Asked for together, neither of them would be used, and the month of settled rows would be read.
# What others wait for is left out before anything is cut, else it would hide what we wait for.
_OPEN = """
    (SELECT aggregatetype, aggregateid, sequence, created_at FROM {outbox} AS o
     WHERE published_at IS NULL AND {ours} ORDER BY position LIMIT %(most)s)
    UNION ALL
    (SELECT aggregatetype, aggregateid, sequence, created_at FROM {outbox} AS o
     WHERE settled_at IS NULL AND published_at IS NOT NULL AND {ours}
     ORDER BY published_at LIMIT %(most)s)
"""
_HEARD = "type = ANY(%(events)s) AND position > %(border)s"
_UNAPPLIED = """type = ANY(%(events)s) AND position > %(border)s AND NOT EXISTS (
    SELECT 1 FROM {inbox} AS i WHERE i.consumer = %(consumer)s AND i.event_id = o.id)"""
_COUNT = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM ({open}) AS o
"""
# Where the two are in different databases, which no statement can compare.
_AGES = """
SELECT aggregatetype, aggregateid, sequence,
    extract(epoch FROM clock_timestamp() - created_at)::float8
FROM ({open}) AS o
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """What a context has not applied of the events of another."""

    consumer: str
    producer: str
    count: int
    oldest: float
    """Age of the oldest of them, in seconds."""


def behind(there: Answering | None = None) -> list[Behind]:
    """Return how far each consumer is behind each producer it listens to.

    :param there: leaves out those that need a database which does not answer
    """
    return [
        _compare(consumer, producer, events)
        for (consumer, producer), events in sorted(_subscribed().items())
        if there is None or there.has(consumer, producer, ENGINE)
    ]


def _compare(consumer: str, producer: str, events: list[str]) -> Behind:
    told: dict[str, Any] = {
        "consumer": consumer,
        "events": events,
        "border": _border(consumer, producer),
        "most": MOST,
    }
    outbox = table(producer, "outbox")
    if alias_of(producer) == alias_of(consumer):
        ours = _UNAPPLIED.format(inbox=table(consumer, "inbox"))
        statement = _COUNT.format(open=_OPEN.format(outbox=outbox, ours=ours))
        [(count, oldest)] = _read(statement, told, consumer)
    else:
        statement = _AGES.format(open=_OPEN.format(outbox=outbox, ours=_HEARD))
        rows = _read(statement, told, producer)
        read = positions_of(consumer, [(row[0], row[1]) for row in rows])
        ages = [row[3] for row in rows if read.get((row[0], row[1]), 0) < row[2]]
        count, oldest = len(ages), max(ages, default=0.0)
    return Behind(consumer=consumer, producer=producer, count=count, oldest=oldest)


def _border(consumer: str, producer: str) -> int:
    # Asked only where there may be one: a page and each scrape count for every pair.
    begins_with_now = start_of(consumer, producer) == starts.NOW
    return starts.border_of(consumer, producer) if begins_with_now else 0


def _subscribed() -> dict[tuple[str, str], list[str]]:
    """Say which events of which producer each context listens to."""
    return {pair: sorted(names) for pair, names in listeners().items()}


def _read(statement: str, told: dict[str, Any], context: str) -> list[tuple[Any, ...]]:
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement, told)
        return list(cursor.fetchall())
