"""How far each context is behind with the events it listens to."""

from dataclasses import dataclass
from typing import Any, Final

from sagas.outbox.republish import positions_of
from sagas.outbox.subscriptions import SUBSCRIPTIONS
from sagas.transactions import alias_of, connection_of, table

MOST: Final = 10_000
"""So many events of a producer are compared, the oldest first."""

# Two indexes have what no consumer may have applied: what is not sent, and what is not settled.
# Asked for together, neither of them would be used, and the month of settled rows would be read.
_OPEN = """
SELECT * FROM (
    (SELECT id, aggregatetype, aggregateid, sequence, type, created_at FROM {outbox}
     WHERE published_at IS NULL ORDER BY position LIMIT %(most)s)
    UNION ALL
    (SELECT id, aggregatetype, aggregateid, sequence, type, created_at FROM {outbox}
     WHERE settled_at IS NULL AND published_at IS NOT NULL ORDER BY published_at LIMIT %(most)s)
) AS o WHERE o.type = ANY(%(events)s)
"""
_UNAPPLIED = f"""
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at)), 0)::float8
FROM ({_OPEN}) AS o WHERE NOT EXISTS (
    SELECT 1 FROM {{inbox}} AS i WHERE i.consumer = %(consumer)s AND i.event_id = o.id)
"""  # noqa: S608 - constants of this module
# Where the two are in different databases, which no statement can compare.
_UNSETTLED = f"""
SELECT aggregatetype, aggregateid, sequence,
    extract(epoch FROM clock_timestamp() - created_at)::float8
FROM ({_OPEN}) AS o
"""  # noqa: S608 - constants of this module


@dataclass(frozen=True, kw_only=True, slots=True)
class Behind:
    """What a context has not applied of the events of another."""

    consumer: str
    producer: str
    count: int
    oldest: float
    """Age of the oldest of them, in seconds."""


def behind() -> list[Behind]:
    """Return how far each consumer is behind each producer it listens to."""
    return [
        _compare(consumer, producer, events)
        for (consumer, producer), events in sorted(_subscribed().items())
    ]


def _compare(consumer: str, producer: str, events: list[str]) -> Behind:
    told: dict[str, Any] = {"consumer": consumer, "events": events, "most": MOST}
    outbox = table(producer, "outbox")
    if alias_of(producer) == alias_of(consumer):
        statement = _UNAPPLIED.format(outbox=outbox, inbox=table(consumer, "inbox"))
        [(count, oldest)] = _read(statement, told, consumer)
    else:
        rows = _read(_UNSETTLED.format(outbox=outbox), told, producer)
        read = positions_of(consumer, [(row[0], row[1]) for row in rows])
        ages = [row[3] for row in rows if read.get((row[0], row[1]), 0) < row[2]]
        count, oldest = len(ages), max(ages, default=0.0)
    return Behind(consumer=consumer, producer=producer, count=count, oldest=oldest)


def _subscribed() -> dict[tuple[str, str], list[str]]:
    """Say which events of which producer each context listens to."""
    found: dict[tuple[str, str], list[str]] = {}
    for (event, _), subscriptions in SUBSCRIPTIONS.items():
        for subscription in subscriptions:
            producer = event.partition(".")[0]
            found.setdefault((subscription.context, producer), []).append(event)
    return found


def _read(statement: str, told: dict[str, Any], context: str) -> list[tuple[Any, ...]]:
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement, told)
        return list(cursor.fetchall())
