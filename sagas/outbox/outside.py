"""Publishing events to consumers that are not ours, beside our own deliveries and after them.

An event has a mark of its own for the outside, and goes there by a task of its own, so that a
broker that is away or hangs keeps nobody waiting but the outside. At least once: published with no
transaction open, then marked.

Note [First come in order]

Events of one aggregate are read in their order, from the oldest that is not marked, and published
one after the other. So whoever publishes one has published those before it, or somebody had
marked them; this also holds for two at once, and for one that froze and thaws. What comes
doubled is dropped by its id, and what is left comes in order. The lease only saves doing it twice.
What the broker refuses keeps its place: the later events of its aggregate wait (``refused.py``).
"""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.failpoints import failpoint
from sagas.models.outside import OutsideLease
from sagas.outbox import exchange, refused
from sagas.outbox.apart import Apart
from sagas.outbox.cloudevents import Told, document
from sagas.transactions import ENGINE, connection_of, outside_transaction, table

log = logging.getLogger(__name__)

_DUE = """
SELECT position, id, aggregatetype, aggregateid, sequence, type, version, occurred_at,
    correlation_id, causation_id, traceparent, created_at, payload
FROM {outbox} WHERE outside_due AND (aggregatetype, aggregateid) NOT IN
    (SELECT * FROM unnest(%s::text[], %s::uuid[]))
ORDER BY position LIMIT %s
"""
_MARK = """
UPDATE {outbox} SET outside_due = false, outside_at = clock_timestamp()
WHERE position = ANY(%s) AND outside_due
"""
_TAKE = """
INSERT INTO sagas_outsidelease AS l (id, leased_until)
VALUES (1, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (id) DO UPDATE SET leased_until = excluded.leased_until
WHERE l.leased_until <= clock_timestamp()
RETURNING leased_until
"""
_KEEP = """
UPDATE sagas_outsidelease SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = 1 AND leased_until = %(mine)s
RETURNING leased_until
"""
_GIVE_BACK = """
UPDATE sagas_outsidelease SET changed_at = clock_timestamp(), error = %(error)s,
    failures = CASE WHEN %(error)s = '' THEN 0 ELSE failures + 1 END,
    leased_until = clock_timestamp() + CASE WHEN %(error)s = '' THEN interval '0' ELSE
        make_interval(secs => least(%(cap)s, %(base)s * 2 ^ least(failures, 20))) END
WHERE id = 1 AND leased_until = %(mine)s
"""

Publish = Callable[[dict[str, Any]], None]
Aggregate = tuple[str, UUID]
Refusal = tuple[Told, exchange.Refused, float]
"""An event, why it was not taken, and after how many seconds that was said."""


def send() -> int:
    """Publish what waits for the outside in every context; return how many events.

    Nothing while somebody else is at it, or before a broker that failed is to be tried again.

    :raises django.db.Error: if a database is away, after the others have had their turn
    """
    if not exchange.is_on():
        return 0
    due = []
    with Apart() as apart:
        with apart.each():
            refused.settle_sent()
        for context in contexts():
            with apart.each():
                due += [context] if _due(context, 1) else []
        return _send(due, apart) if due else 0


def _send(due: list[str], apart: Apart) -> int:
    lease = _Lease()
    if not lease.take():
        return 0
    sent, error = 0, ""
    try:
        with exchange.opened() as publish:
            for context in due:
                with apart.each():
                    for count in _batches(context, lease, publish):
                        sent += count
    except exchange.Away as away:
        error = str(away)
        log.warning("outside_away", extra={"error": error})
    lease.give_back(error)
    return sent


def trouble() -> str:
    """Return why events do not get outside, in words, or nothing."""
    if not exchange.is_on():
        return ""
    failing = OutsideLease.objects.filter(failures__gt=0).first()
    return f"Events for the outside are not taken: {failing.error}." if failing else ""


def _batches(context: str, lease: "_Lease", publish: Publish) -> Iterator[int]:
    while not lease.is_spent() and (rows := _due(context, int(conf.OUTSIDE_BATCH))):
        failpoint("outside.selected", context)
        # Kept with a commit that waits for the disk, which takes along what was read: an event
        # that has got outside cannot be lost any more with a server.
        if not lease.keep():
            return
        yield _publish_and_mark(context, rows, publish, lease)
        if len(rows) < int(conf.OUTSIDE_BATCH):
            return


def _publish_and_mark(context: str, rows: list[Told], publish: Publish, lease: "_Lease") -> int:
    """Publish in order while there is time; mark what was taken, also when one is not."""
    outside_transaction()
    taken: list[int] = []
    refusals: dict[Aggregate, Refusal] = {}
    try:
        for told in rows:
            if (aggregate := (told.aggregate_type, told.aggregate_id)) in refusals:
                continue
            began = monotonic()
            try:
                publish(document(told, base=exchange.base(), context=context))
                taken.append(told.position)
            except exchange.Refused as refusal:
                refusals[aggregate] = told, refusal, monotonic() - began
            if lease.is_spent():
                break
    finally:
        failpoint("outside.published", context)
        with connection_of(context).cursor() as cursor:
            cursor.execute(_MARK.format(outbox=table(context, "outbox")), [taken])
        failpoint("outside.committed", context)
        for event, why, took in refusals.values():
            log.warning("outside_refused", extra={"event": event.name, "error": str(why)})
            refused.note(context, event, why, took)
    return len(taken)


def _due(context: str, most: int) -> list[Told]:
    """Return the next events for the outside, without those that wait behind a dead letter."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(_DUE.format(outbox=table(context, "outbox")), [*refused.held(context), most])
        return [
            Told(
                position=row[0],
                event_id=row[1],
                aggregate_type=row[2],
                aggregate_id=row[3],
                sequence=row[4],
                name=row[5],
                version=row[6],
                occurred_at=row[7],
                correlation_id=row[8],
                causation_id=row[9],
                traceparent=row[10],
                recorded_at=row[11],
                payload=json.loads(row[12]),
            )
            for row in cursor.fetchall()
        ]


class _Lease:
    """The right to publish, for a while."""

    def __init__(self) -> None:
        self.mine: datetime | None = None
        self.began = monotonic()

    def is_spent(self) -> bool:
        """Return whether the next tick should go on: a worker is not only there for this."""
        return monotonic() - self.began > float(conf.OUTSIDE_LEASE) / 2

    def take(self) -> bool:
        """Take it, unless somebody has it."""
        return self._ask(_TAKE)

    def keep(self) -> bool:
        """Have it for longer; False if it has run out and somebody else has taken it."""
        return self._ask(_KEEP)

    def give_back(self, error: str) -> None:
        """Let others have it: at once, or after a failure when its delay is over."""
        with connection_of(ENGINE).cursor() as cursor:
            cursor.execute(
                _GIVE_BACK,
                {
                    "mine": self.mine,
                    "error": error,
                    "base": conf.DELAY_BASE,
                    "cap": conf.DELAY_CAP,
                },
            )

    def _ask(self, statement: str) -> bool:
        with connection_of(ENGINE).cursor() as cursor:
            cursor.execute(statement, {"lease": conf.OUTSIDE_LEASE, "mine": self.mine})
            row = cursor.fetchone()
        self.mine = row[0] if row else None
        return row is not None
