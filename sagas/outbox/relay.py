"""The relay: from outbox rows to delivery messages, in batches, any number of relays at once.

A batch is leased in one statement, published with no transaction open, then marked, and with the
mark its rows are in the history. A relay killed in between has its batch published again when the
lease runs out, which the inbox makes harmless.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from celery import current_app
from celery.canvas import Signature

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.failpoints import failpoint
from sagas.orchestration import canvas
from sagas.outbox import bell, starts
from sagas.outbox.history import KEEP, filled
from sagas.outbox.subscriptions import consumers_of
from sagas.spans import span
from sagas.transactions import connection_of, table

log = logging.getLogger(__name__)

_LEASE = """
UPDATE {outbox} SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
    attempts = attempts + 1
WHERE position IN (
    SELECT position FROM {outbox}
    WHERE published_at IS NULL AND (leased_until IS NULL OR leased_until <= clock_timestamp())
    ORDER BY position LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
RETURNING position, id, type, traceparent
"""

# One statement, so that what is marked is in the history and what is not marked is not.
_MARK = """
WITH moved AS (
    UPDATE {outbox} SET published_at = clock_timestamp(), leased_until = NULL,
        settled_at = CASE WHEN position = ANY(%(unheard)s) THEN clock_timestamp() END
    WHERE position = ANY(%(positions)s) AND published_at IS NULL
    RETURNING {columns})
{keep}
"""

MOST_BATCHES = 20

Row = tuple[int, UUID, str, str | None]
"""Position, id, type and trace context of an event."""


def relay() -> int:
    """Publish what waits in every context's outbox; return how many events."""
    bell.answer()
    starts.begin_new()
    return sum(_drain(context) for context in contexts())


def _drain(context: str) -> int:
    total = 0
    for _ in range(MOST_BATCHES):
        published = relay_batch(context)
        total += published
        if published < int(conf.RELAY_BATCH):
            break
    return total


def relay_batch(context: str) -> int:
    """Lease, publish and mark one batch of a context's outbox; return its size."""
    outbox = table(context, "outbox")
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            _LEASE.format(outbox=outbox),
            {"lease": conf.RELAY_LEASE, "batch": int(conf.RELAY_BATCH)},
        )
        rows = sorted(cursor.fetchall())
    if not rows:
        return 0
    failpoint("relay.selected", context)
    return len(rows) if hand_over(context, rows) else 0


def hand_over(context: str, rows: Sequence[Row]) -> bool:
    """Publish events of a context, then mark them; False when the broker did not take all."""
    heard = [(event_id, consumers_of(type_)) for _, event_id, type_, _ in rows]
    # One batch of many causes: it has none of them for a parent, and is linked to each.
    with span("relay", "producer", [row[3] for row in rows], context=context, events=len(rows)):
        if not _publish(context, heard):
            return False
    failpoint("relay.published", context)
    unheard = [row[0] for row, (_, consumers) in zip(rows, heard, strict=True) if not consumers]
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            filled(_MARK, context, keep=KEEP),
            {"positions": [row[0] for row in rows], "unheard": unheard},
        )
    failpoint("relay.committed", context)
    return True


def _publish(producer: str, heard: Iterable[tuple[UUID, list[str]]]) -> bool:
    per_consumer: dict[str, list[str]] = defaultdict(list)
    for event_id, consumers in heard:
        for consumer in consumers:
            per_consumer[consumer].append(str(event_id))
    return all(deliver_later(producer, consumer, ids) for consumer, ids in per_consumer.items())


def deliver_later(producer: str, consumer: str, event_ids: list[str]) -> bool:
    """Send delivery messages for events of one producer to one consumer; ids only.

    Ends at the first that the broker does not take: each further one would wait for it again.
    """
    size = int(conf.DELIVERY_SIZE)
    for start in range(0, len(event_ids), size):
        signature = Signature(
            "sagas.deliver",
            args=(producer, consumer, event_ids[start : start + size]),
            options={"queue": "events"},
            immutable=True,
            app=current_app,
        )
        if not canvas.publish(signature):
            return False
    return True
