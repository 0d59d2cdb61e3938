"""The relay: from outbox rows to delivery messages, in batches, any number of relays at once.

A batch is leased in one statement, published with no transaction open, then marked, and with the
mark its rows are in the history. A relay killed in between has its batch published again when the
lease runs out, which the inbox makes harmless.

Who rings brings the context along: its newest events go first, by a lane of their own, so that
they do not stand behind what has waited for long (docs/decisions/0033-two-lanes.md).
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from math import inf
from operator import itemgetter
from random import random
from typing import Any, Final
from uuid import UUID

from celery import current_app
from celery.canvas import Signature
from django.db import Error

from sagas import error_texts
from sagas.choreography import beginning
from sagas.conf import conf
from sagas.contexts import contexts
from sagas.failpoints import failpoint
from sagas.orchestration import canvas
from sagas.outbox import bell, starts
from sagas.outbox.apart import Apart
from sagas.outbox.history import KEEP, filled
from sagas.outbox.subscriptions import consumers_of
from sagas.spans import span
from sagas.statements import cursor_of
from sagas.transactions import table

log = logging.getLogger(__name__)

# An array, which is asked for once; a subquery of IN may be asked once for each row, and then
# leases more than a batch.
_LEASE = """
UPDATE {outbox} SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
    attempts = attempts + 1
WHERE position = ANY(ARRAY(
    SELECT position FROM {rows} AS o
    WHERE published_at IS NULL AND (leased_until IS NULL OR leased_until <= clock_timestamp())
    ORDER BY position {direction} LIMIT %(batch)s FOR UPDATE SKIP LOCKED))
RETURNING position, id, type, traceparent, aggregatetype, aggregateid,
    created_at > clock_timestamp() - make_interval(secs => %(fresh)s)
"""

# Of the newest positions only, else the search for what is fresh would read all that waits.
_NEWEST = """
(SELECT position, published_at, leased_until FROM {outbox}
 WHERE position > (SELECT max(position) - 1000 FROM {outbox})
     AND created_at > clock_timestamp() - make_interval(secs => %(age)s))
"""
# What was committed just now is left to its ring.
_OLDER = """
(SELECT position, published_at, leased_until FROM {outbox}
 WHERE created_at <= clock_timestamp() - make_interval(secs => %(age)s))
"""
FRESH_FOR: Final = 5.0
"""Seconds for which an event goes by the quick lane."""
SPARED: Final = 0.5
"""Seconds for which a tick leaves an event to the ring of its commit."""

# One statement, so that what is marked is in the history and what is not marked is not. The rows
# are locked in their order: two relays may have the same ones, when a lease has run out.
_MARK = """
WITH moved AS (
    UPDATE {outbox} SET published_at = clock_timestamp(), leased_until = NULL,
        settled_at = CASE WHEN position = ANY(%(unheard)s) THEN clock_timestamp() END
    WHERE position IN (SELECT position FROM {outbox}
        WHERE position = ANY(%(positions)s) AND published_at IS NULL
        ORDER BY position FOR UPDATE)
    RETURNING {columns})
{keep}
"""

MOST_BATCHES = 20
FRESH: Final = bell.FRESH
"""The queue of events that were committed just now."""
EVENTS: Final = "events"
"""The queue of all others, and of what is delivered again."""


FEW: Final = 20
"""Messages that wait in a queue whose workers keep up."""


Row = tuple[Any, ...]
"""Position, id, type, trace and aggregate of an event, and whether it is fresh."""
Deliver = Callable[[str, str, Iterable[tuple[str, UUID, str]]], object]


def relay(context: str = "", *, on_the_spot: Deliver | None = None, spared: float = 0.0) -> int:
    """Publish what waits in every context's outbox, or in that of one; return how many events.

    :param context: has just committed something; its newest events go first
    :param on_the_spot: applies these instead of a message for them
    :param spared: seconds; what is younger is left to the ring of its commit
    :raises django.db.Error: if a database is away, after the others have had their turn
    """
    if not context:
        return _relay_all(spared)
    if context not in contexts():
        log.warning("bell_of_nobody", extra={"context": error_texts.storable(context)})
        return 0
    bell.answer(context, came_by_ring=True)
    total = 0
    for _ in range(MOST_BATCHES):
        rows = _lease(context, newest=True)
        few = len(rows) <= int(conf.RELAY_FRESH)
        passed = _pass_on(context, rows, on_the_spot if few else None)
        total += passed or 0
        if passed is None or len(rows) < int(conf.RELAY_BATCH):
            break
    return total


def _relay_all(spared: float) -> int:
    bell.answer(*contexts())
    total = 0
    with Apart() as apart:
        for begin_new in (starts.begin_new, beginning.begin_new):
            with apart.each():
                begin_new()
        for context in contexts():
            with apart.each():
                total += _drain(context, spared=spared)
    return total


def _drain(context: str, *, spared: float) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        published = relay_batch(context, spared=spared)
        total += published
        if published < int(conf.RELAY_BATCH):
            break
    return total


def relay_batch(context: str, *, spared: float = 0.0) -> int:
    """Lease, publish and mark the oldest batch of a context's outbox; return its size.

    :param spared: seconds; what is younger is left alone
    """
    return _pass_on(context, _lease(context, spared=spared), None) or 0


def _pass_on(context: str, rows: list[Row], on_the_spot: Deliver | None) -> int | None:
    """Hand over what may be; None when somebody did not take it, and would be waited for again."""
    if not rows:
        return 0
    failpoint("relay.selected", context)
    return len(rows) if hand_over(context, rows, on_the_spot) else None


def hand_over(context: str, rows: Sequence[Row], on_the_spot: Deliver | None = None) -> bool:
    """Publish events of a context, then mark them; False when somebody did not take all."""
    heard = [(row, consumers_of(row[2])) for row in rows]
    unheard = _unheard([row for row, consumers in heard if not consumers])
    # One batch of many causes: it has none of them for a parent, and is linked to each.
    with span("relay", "producer", [row[3] for row in rows], context=context, events=len(rows)):
        if not _publish(context, heard, on_the_spot):
            return False
    failpoint("relay.published", context)
    with cursor_of(context) as cursor:
        cursor.execute(
            filled(_MARK, context, keep=KEEP),
            {"positions": [row[0] for row in rows], "unheard": unheard},
        )
    failpoint("relay.committed", context)
    return True


def _unheard(rows: list[Row]) -> list[int]:
    """Return what no release listens to, of what this one does not.

    Asked before anything is published, so that what is published is marked. What is not known while
    the engine's database is away, the comparison settles later.
    """
    if not rows:
        return []
    try:
        left = starts.end_old()
    except Error as error:
        log.warning("listeners_unasked", extra={"error": str(error)})
        return []
    return [row[0] for row in rows if row[2] not in left]


def _lease(context: str, *, newest: bool = False, spared: float = 0.0) -> list[Row]:
    outbox = table(context, "outbox")
    some = _NEWEST if newest else _OLDER if spared else "{outbox}"
    statement = _LEASE.format(
        outbox=outbox,
        rows=some.format(outbox=outbox),
        direction="DESC" if newest else "",
    )
    parameters = {
        "lease": conf.RELAY_LEASE,
        "batch": int(conf.RELAY_BATCH),
        "age": FRESH_FOR if newest else spared,
        "fresh": FRESH_FOR,
    }
    with cursor_of(context) as cursor:
        cursor.execute(statement, parameters)
        return sorted(cursor.fetchall(), key=itemgetter(0))


def _publish(
    producer: str, heard: Iterable[tuple[Row, list[str]]], on_the_spot: Deliver | None
) -> bool:
    if on_the_spot is not None:
        _apply(producer, heard, on_the_spot)
        return True
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    heard = list(heard)
    quick = FRESH if any(row[-1] for row, _ in heard) and bell.is_heard() else EVENTS
    for row, consumers in heard:
        for consumer in consumers:
            found[quick if row[-1] else EVENTS, consumer].append(str(row[1]))
    return all(
        deliver_later(producer, consumer, ids, queue=lane)
        for (lane, consumer), ids in found.items()
    )


def _apply(producer: str, heard: Iterable[tuple[Row, list[str]]], on_the_spot: Deliver) -> None:
    found: dict[str, dict[tuple[str, UUID], str]] = defaultdict(dict)
    for row, consumers in heard:
        for consumer in consumers:
            found[consumer][row[4], row[5]] = str(row[1])  # each aggregate once
    for consumer, aggregates in found.items():
        each = [(*aggregate, event_id) for aggregate, event_id in aggregates.items()]
        on_the_spot(producer, consumer, each)


def deliver_later(
    producer: str, consumer: str, event_ids: list[str], *, queue: str = EVENTS
) -> bool:
    """Send delivery messages for events of one producer to one consumer; ids only.

    Ends at the first that the broker does not take: each further one would wait for it again.
    """
    size = int(conf.DELIVERY_SIZE)
    # As old as that, its events are delivered again by the other queue.
    expiry = {"expires": conf.REPUBLISH_AFTER} if queue == FRESH else {}
    for start in range(0, len(event_ids), size):
        signature = Signature(
            "sagas.deliver",
            args=(producer, consumer, event_ids[start : start + size]),
            options={"queue": queue, **expiry},
            immutable=True,
            app=current_app,
        )
        if not canvas.publish(signature):
            return False
    return True


def may_ring_again(messages: int, rarest: float = inf) -> bool:
    """Return whether to send so many messages that are perhaps lost, and perhaps only wait.

    The more of them may be waiting, the more rarely: where nobody takes them, or not in time, they
    would pile up in the broker, and stand in the way of what is new for as long again.

    :param rarest: once in so many times at the least, on average, whatever waits
    """
    waiting = canvas.depth(EVENTS)
    return random() * (1 + min(waiting // max(messages, FEW), rarest - 1)) < 1
