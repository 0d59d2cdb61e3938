"""The backlog as Prometheus reads it: each figure is a query at the time of the scrape.

Counters kept in processes would start at zero with each of them and would have to be collected
from all; the rows know how much is waiting and for how long, whoever is asked.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.conf import settings
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sagas import clock
from sagas.breaker import circuits
from sagas.outbox.republish import positions_of
from sagas.outbox.subscriptions import SUBSCRIPTIONS
from sagas.transactions import ENGINE, alias_of, connection_of

UNPUBLISHED: Final = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
FROM {outbox} WHERE published_at IS NULL
"""
UNAPPLIED: Final = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at)), 0)
FROM {outbox} o
WHERE o.settled_at IS NULL AND o.type = ANY(%s)
    AND NOT EXISTS (SELECT 1 FROM {inbox} i WHERE i.event_id = o.id)
"""
UNFINISHED: Final = """
SELECT name, status, count(*), extract(epoch FROM clock_timestamp() - min(started_at)),
    count(*) FILTER (WHERE parked_at IS NOT NULL),
    count(*) FILTER (WHERE attempts > 1), count(*) FILTER (WHERE hints > 0)
FROM sagas_saga WHERE finished_at IS NULL GROUP BY name, status
"""
FAULTS: Final = """
SELECT name, kind, count(*) FROM sagas_stepfault
WHERE at > clock_timestamp() - interval '1 hour' GROUP BY name, kind
"""
DEAD_LETTERS: Final = """
SELECT context, count(*), extract(epoch FROM clock_timestamp() - min(first_at))
FROM sagas_deadletter WHERE resolved_at IS NULL GROUP BY context
"""


# Where the two are in different databases, which no statement can compare.
UNSETTLED: Final = """
SELECT aggregatetype, aggregateid, sequence, extract(epoch FROM clock_timestamp() - created_at)
FROM {outbox} WHERE settled_at IS NULL AND type = ANY(%s)
"""


class Backlog(Collector):
    """Everything that waits, and since when."""

    def collect(self) -> Iterable[Metric]:
        """Run the queries, one after another, on the connection of the request."""
        yield from _outboxes()
        yield from _consumers()
        yield from _sagas()
        yield from _circuits()
        yield from _gauges(
            FAULTS,
            ("step", "kind"),
            (("concord_step_faults_last_hour", "Runs of a step that did not end well."),),
        )
        yield from _gauges(
            DEAD_LETTERS,
            ("context",),
            (
                ("concord_dead_letters", "Events that a context could not handle."),
                ("concord_dead_letters_oldest_seconds", "Age of the oldest of them."),
            ),
        )


def _outboxes() -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "concord_outbox_unpublished", "Events not yet published.", labels=["context"]
    )
    oldest = GaugeMetricFamily(
        "concord_outbox_oldest_unpublished_seconds", "Age of the oldest.", labels=["context"]
    )
    for context in settings.CONTEXTS:
        statement = UNPUBLISHED.format(outbox=f"{context}_outbox")
        [(count, age)] = _rows(statement, context=context)
        waiting.add_metric([context], count)
        oldest.add_metric([context], age)
    yield waiting
    yield oldest


def _consumers() -> Iterator[Metric]:
    labels = ["consumer", "producer"]
    waiting = GaugeMetricFamily(
        "concord_consumer_unapplied", "Events that a context has not applied.", labels=labels
    )
    lag = GaugeMetricFamily(
        "concord_consumer_lag_seconds", "Age of the oldest of them.", labels=labels
    )
    for (consumer, producer), events in sorted(_subscribed().items()):
        count, age = _unapplied(producer, consumer, events)
        waiting.add_metric([consumer, producer], count)
        lag.add_metric([consumer, producer], age)
    yield waiting
    yield lag


def _unapplied(producer: str, consumer: str, events: list[str]) -> tuple[int, float]:
    """Return how many events a consumer has not applied, and the age of the oldest."""
    if alias_of(producer) == alias_of(consumer):
        statement = UNAPPLIED.format(outbox=f"{producer}_outbox", inbox=f"{consumer}_inbox")
        [(count, age)] = _rows(statement, events, context=consumer)
        return count, age
    rows = _rows(UNSETTLED.format(outbox=f"{producer}_outbox"), events, context=producer)
    read = positions_of(consumer, [(row[0], row[1]) for row in rows])
    ages = [float(row[3]) for row in rows if read.get((row[0], row[1]), 0) < row[2]]
    return len(ages), max(ages, default=0.0)


def _subscribed() -> dict[tuple[str, str], list[str]]:
    """Say which events of which producer each context listens to."""
    found: dict[tuple[str, str], list[str]] = {}
    for (event, _), subscriptions in SUBSCRIPTIONS.items():
        for subscription in subscriptions:
            producer = event.partition(".")[0]
            found.setdefault((subscription.context, producer), []).append(event)
    return found


def _circuits() -> Iterator[Metric]:
    stopped = GaugeMetricFamily(
        "concord_circuit_open_seconds",
        "For how long a system has not been called, since it does not answer; 0 = it is called.",
        labels=["system"],
    )
    for circuit in circuits():
        since = circuit.opened_at
        age = 0.0 if since is None else max(1.0, (clock.real() - since).total_seconds())
        stopped.add_metric([circuit.name], age)
    yield stopped


def _sagas() -> Iterator[Metric]:
    return _gauges(
        UNFINISHED,
        ("saga", "status"),
        (
            ("concord_sagas_unfinished", "Sagas under way."),
            ("concord_sagas_oldest_unfinished_seconds", "Age of the oldest of them."),
            ("concord_sagas_parked", "Sagas that wait for a person."),
            ("concord_sagas_retrying", "Sagas whose current step was claimed more than once."),
            ("concord_sagas_hinted", "Sagas that the sweeper had to hint."),
        ),
    )


def _gauges(
    statement: str, labels: tuple[str, ...], gauges: tuple[tuple[str, str], ...]
) -> Iterator[Metric]:
    """Turn a query, first its labels and then its figures, into one gauge for each figure."""
    families = [GaugeMetricFamily(name, text, labels=list(labels)) for name, text in gauges]
    for row in _rows(statement):
        for family, value in zip(families, row[len(labels) :], strict=True):
            family.add_metric([str(label) for label in row[: len(labels)]], float(value))
    return iter(families)


def _rows(statement: str, *events: list[str], context: str = ENGINE) -> list[tuple[Any, ...]]:
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement, list(events) or None)
        return list(cursor.fetchall())
