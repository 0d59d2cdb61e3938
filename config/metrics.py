"""The backlog as Prometheus reads it: each figure is a query at the time of the scrape.

Counters kept in processes would start at zero with each of them and would have to be collected
from all; the rows know how much is waiting and for how long, whoever is asked. A scrape is a
bounded number of queries, and each of them reads a bounded number of rows by an index.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from django.conf import settings
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config import saga_metrics
from config.gauges import gauges, rows
from sagas import clock
from sagas.answering import Answering
from sagas.breaker import circuits
from sagas.ids import first_made_at
from sagas.outbox import bell, exchange, lag, slots, streaming
from sagas.projections import lag as projections
from sagas.transactions import ENGINE

UNPUBLISHED: Final = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
FROM {outbox} WHERE published_at IS NULL
"""
NOT_OUTSIDE: Final = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
FROM {outbox} WHERE outside_due
"""
# Ids carry the time they were made at, so the primary key finds the hour.
FAULTS: Final = """
SELECT name, kind, sum(times) FROM (
    SELECT name, kind, times FROM sagas_stepfault WHERE id >= %s
    ORDER BY id DESC LIMIT 100000) AS lately
GROUP BY name, kind
"""
DEAD_LETTERS: Final = """
SELECT context, count(*), extract(epoch FROM clock_timestamp() - min(first_at))
FROM sagas_deadletter WHERE resolved_at IS NULL GROUP BY context
"""
# No more than the engine keeps, and by the index of those that wait.
UNREADABLE: Final = """
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)
FROM sagas_unreadable WHERE discarded_at IS NULL
"""
FLOWS: Final = """
SELECT name, count(*) FILTER (WHERE missing <> ''), count(*) FILTER (WHERE parked_at IS NOT NULL),
    extract(epoch FROM clock_timestamp() - min(opened_at))
FROM sagas_watchedflow WHERE finished_at IS NULL GROUP BY name
"""


class Backlog(Collector):
    """Everything that waits, and since when."""

    def collect(self) -> Iterable[Metric]:
        """Run the queries, one after another, on the connections of the request.

        A database that is away is asked once, and what it would have said is left out.
        """
        there = Answering()
        yield from gauges(
            ("database",),
            (("concord_database_away", "1 where a database does not answer."),),
            [(alias, alias in there.away) for alias in there.troubles],
        )
        yield from _outboxes(there)
        yield from _consumers(there)
        yield from _tails(there)
        yield from _outside(there)
        yield from _rings()
        yield from _circuits()
        if there.has(ENGINE):
            yield from _engine()


def _engine() -> Iterator[Metric]:
    yield from saga_metrics.figures()
    yield from gauges(
        ("step", "kind"),
        (("concord_step_faults_last_hour", "Runs of a step that did not end well."),),
        rows(FAULTS, first_made_at(clock.real() - timedelta(hours=1))),
    )
    yield from _flows()
    yield from gauges(
        ("context",),
        (
            ("concord_dead_letters", "Events that a context could not handle."),
            ("concord_dead_letters_oldest_seconds", "Age of the oldest of them."),
        ),
        rows(DEAD_LETTERS),
    )
    yield from gauges(
        (),
        (
            ("concord_unreadable_messages", "Messages that no worker could read."),
            ("concord_unreadable_messages_oldest_seconds", "Age of the oldest of them."),
        ),
        rows(UNREADABLE),
    )


def _outboxes(there: Answering) -> Iterator[Metric]:
    waiting = []
    for context in there.among(settings.CONTEXTS):
        [found] = rows(UNPUBLISHED.format(outbox=f"{context}_outbox"), context=context)
        waiting.append((context, *found))
    return gauges(
        ("context",),
        (
            ("concord_outbox_unpublished", "Events not yet published."),
            ("concord_outbox_oldest_unpublished_seconds", "Age of the oldest."),
        ),
        waiting,
    )


def _consumers(there: Answering) -> Iterator[Metric]:
    yield from gauges(
        ("consumer", "producer"),
        (
            ("concord_consumer_unapplied", "Events that a context has not applied."),
            ("concord_consumer_lag_seconds", "Age of the oldest of them."),
        ),
        [
            (found.consumer, found.producer, found.count, found.oldest)
            for found in lag.behind(there)
        ],
    )
    yield from gauges(
        ("projection",),
        (
            ("concord_projection_behind", "Events that are told and not in a read model."),
            ("concord_projection_lag_seconds", "Since everything that was told is in it."),
        ),
        [(noted.name, noted.behind, noted.seconds) for noted in projections.noted(there)],
    )


def _tails(there: Answering) -> Iterator[Metric]:
    """Tell of tailing where somebody has set it up, or left a slot behind."""
    looks = [slots.look(alias) for alias in slots.databases() if alias not in there.away]
    return gauges(
        ("database",),
        (
            ("concord_outbox_tail_retained_bytes", "Log kept for tailing."),
            ("concord_outbox_tail_broken", "Tailing was set up and has no slot."),
        ),
        [
            (tail.alias, tail.retained, tail.is_broken)
            for tail in looks
            if tail.is_wanted or tail.has_slot
        ],
    )


def _outside(there: Answering) -> Iterator[Metric]:
    waiting = []
    for context in there.among(settings.CONTEXTS) if exchange.is_on() else ():
        [found] = rows(NOT_OUTSIDE.format(outbox=f"{context}_outbox"), context=context)
        waiting.append((context, *found))
    yield from gauges(
        ("context",),
        (
            ("concord_outside_unpublished", "Events that have not got outside."),
            ("concord_outside_oldest_unpublished_seconds", "Age of the oldest."),
        ),
        waiting,
    )
    yield from _stream(there)


def _stream(there: Answering) -> Iterator[Metric]:
    due = [
        (context, *row)
        for context in there.among(streaming.streamed())
        for row in rows(f"SELECT count(*) FROM {context}_streamdue", context=context)  # noqa: S608
    ]
    said = ("concord_stream_due", "Events that are not in the stream yet.")
    return gauges(("context",), (said,), due)


def _flows() -> Iterator[Metric]:
    return gauges(
        ("flow",),
        (
            ("concord_flows_missing_a_hop", "Flows of events of which a hop is missing."),
            ("concord_flows_parked", "Those of them that wait for an operator."),
            ("concord_flows_oldest_seconds", "Age of the oldest unfinished flow."),
        ),
        rows(FLOWS),
    )


def _rings() -> Iterator[Metric]:
    return gauges(
        (),
        (("concord_fresh_unanswered_seconds", "How long no worker has taken a ring."),),
        [(bell.unanswered_for(),)],
    )


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
