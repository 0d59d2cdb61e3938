"""The events of a context from the first on, read in the order of their positions.

This is the one place that knows where the past is kept. A position is handed out before its
transaction commits, so a reader that remembered the greatest one it saw would pass by whatever
commits late; `horizon` is the position up to which nothing can come any more.
"""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sagas.outbox.subscriptions import Envelope
from sagas.transactions import connection_of, table

LOOK_AGAIN = 0.01
SLICE = 100_000
"""Positions that one statement goes through at most, however few of their events are wanted."""

_EVENTS = """
SELECT position, id, type, version, aggregatetype, aggregateid, sequence, occurred_at,
    correlation_id, causation_id, traceparent, payload, created_at, actor
FROM {past} AS past WHERE position > %s AND position <= %s AND type = ANY(%s)
ORDER BY position LIMIT %s
"""

_LAST = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, 'position')), 0)"


@dataclass(frozen=True, kw_only=True, slots=True)
class PastEvent:
    """One event as it was told."""

    position: int
    envelope: Envelope
    payload: Any


# What the history has was sent some time after it was recorded: what is old counts as late there.
_KEPT = """
(SELECT position, id, type, version, aggregatetype, aggregateid, number AS sequence, occurred_at,
    correlation_id, causation_id, traceparent, payload, actor, recorded_at AS created_at,
    recorded_at AS published_at
FROM {event}
UNION ALL
SELECT position, id, type, version, aggregatetype, aggregateid, sequence, occurred_at,
    correlation_id, causation_id, traceparent, payload, actor, created_at, published_at
FROM {outbox} AS o WHERE NOT EXISTS (SELECT FROM {event} AS e WHERE e.position = o.position))
"""


def kept_in(context: str) -> str:
    """Return what stands after FROM to read every event that is kept of a context.

    That is the history, and what waits in the outbox to get there.
    """
    return _KEPT.format(event=table(context, "event"), outbox=table(context, "outbox"))


def events_of(
    context: str,
    after: int,
    *,
    names: Iterable[str],
    upto: int | None = None,
    limit: int,
) -> list[PastEvent]:
    """Return the next events of a context with one of these names, and at most so many.

    :param after: the position of the last one that was read
    :param upto: the position to end with; by default whatever is committed
    """
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            _EVENTS.format(past=kept_in(context)),
            [after, 2**63 - 1 if upto is None else upto, sorted(names), limit],
        )
        return [_event(row) for row in cursor.fetchall()]


def _event(row: tuple[Any, ...]) -> PastEvent:
    return PastEvent(
        position=row[0],
        envelope=Envelope(
            event_id=row[1],
            name=row[2],
            version=row[3],
            aggregate_type=row[4],
            aggregate_id=row[5],
            sequence=row[6],
            occurred_at=row[7],
            correlation_id=row[8],
            causation_id=row[9],
            traceparent=row[10],
            recorded_at=row[12],
            actor=row[13],
            position=row[0],
        ),
        payload=json.loads(row[11]),
    )


def last_position(context: str) -> int:
    """Return the last position that was handed out, committed or not."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(_LAST, [table(context, "outbox")])
        return int(cursor.fetchall()[0][0])


def horizon(context: str, patience: float) -> int | None:
    """Return a position up to which every event is committed or never will be.

    None when a transaction that may have taken an earlier position is still open after so many
    seconds. Each had its transaction id before it took a position (the aggregate's row is updated
    first), so all of them are older than an id that is taken now.
    """
    last, mine = _mark(context)
    return last if _is_past(context, mine, patience) else None


_EARLIER: dict[tuple[str, str], tuple[int, str]] = {}


def earlier_horizon(context: str, whose: str) -> int | None:
    """Return a horizon as of an earlier look of this process; None where it is none so far.

    For who comes again and again: where some transaction is always open for longer than anybody
    waits, those that were open at the earlier look have ended by now.
    """
    now = _mark(context)
    position, xid = _EARLIER.setdefault((context, whose), now)
    if not _is_past(context, xid, 0.0):
        return None
    _EARLIER[context, whose] = now
    return position


def _mark(context: str) -> tuple[int, str]:
    last = last_position(context)
    with connection_of(context).cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        return last, str(cursor.fetchall()[0][0])


def _is_past(context: str, xid: str, patience: float) -> bool:
    end = time.monotonic() + patience
    with connection_of(context).cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::text::xid8", [xid]
            )
            if cursor.fetchall()[0][0]:
                return True
            if time.monotonic() >= end:
                return False
            threading.Event().wait(LOOK_AGAIN)
