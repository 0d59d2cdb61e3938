"""Comparing outbox with inbox: "published" proves nothing, only a consumer's position does."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.failpoints import failpoint
from sagas.outbox import dead_letters, starts
from sagas.outbox.relay import deliver_later
from sagas.outbox.subscriptions import consumers_of
from sagas.sometimes import sometimes
from sagas.transactions import connection_of, table

log = logging.getLogger(__name__)

PAGE = 2000

_UNSETTLED = """
SELECT position, id, type, aggregatetype, aggregateid, sequence, published_at FROM {outbox}
WHERE settled_at IS NULL
    AND published_at <= clock_timestamp() - make_interval(secs => %(after)s)
    AND (published_at, position) > (%(published_at)s::timestamptz, %(position)s)
ORDER BY published_at, position LIMIT %(page)s
"""

_POSITIONS = """
SELECT p.aggregatetype, p.aggregateid, p.sequence FROM {position} p
JOIN unnest(%(types)s::text[], %(ids)s::uuid[]) AS wanted (aggregatetype, aggregateid)
    USING (aggregatetype, aggregateid)
"""

Row = tuple[int, UUID, str, str, UUID, int, datetime]


def republish() -> int:
    """Deliver again what some consumer has not applied in time; return how many events.

    Events that every consumer has applied are marked as settled, which is what lets them be
    pruned. A broker that lost everything costs this interval.
    """
    found = sum(_compare(context, rows) for context in contexts() for rows in _unsettled(context))
    return found + dead_letters.retry_due()


def _compare(producer: str, rows: list[Row]) -> int:
    missing: dict[str, list[str]] = defaultdict(list)
    waiting: set[int] = set()
    for consumer in sorted({c for row in rows for c in consumers_of(row[2])}):
        border = starts.border_of(consumer, producer)
        theirs = [row for row in rows if row[0] > border and consumer in consumers_of(row[2])]
        positions = positions_of(consumer, [(row[3], row[4]) for row in theirs])
        applied = []
        for row in theirs:
            if positions.get((row[3], row[4]), 0) >= row[5]:
                applied.append(row[1])
            else:
                missing[consumer].append(str(row[1]))
                waiting.add(row[0])
        dead_letters.settle(consumer, applied)
    if missing:
        sometimes("event.republished")
        failpoint("republish.found", producer)
    for consumer, event_ids in missing.items():
        deliver_later(producer, consumer, event_ids)
    failpoint("republish.delivered", producer)
    starts.end_old()
    _settle(producer, [row[0] for row in rows if row[0] not in waiting])
    if waiting:
        log.info("republished", extra={"context": producer, "events": len(waiting)})
    return len(waiting)


def _unsettled(producer: str) -> Iterator[list[Row]]:
    """Read page by page: events that wait for a person must not hide those behind them."""
    last: Row | None = None
    while True:
        with connection_of(producer).cursor() as cursor:
            cursor.execute(
                _UNSETTLED.format(outbox=table(producer, "outbox")),
                {
                    "after": conf.REPUBLISH_AFTER,
                    "published_at": last[6] if last else "-infinity",
                    "position": last[0] if last else 0,
                    "page": PAGE,
                },
            )
            rows: list[Row] = cursor.fetchall()
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        last = rows[-1]


def positions_of(consumer: str, aggregates: list[tuple[str, UUID]]) -> dict[tuple[str, UUID], int]:
    """Return how far a consumer has read those of the aggregates that it has begun to read."""
    with connection_of(consumer).cursor() as cursor:
        parameters: dict[str, Any] = {
            "types": [type_ for type_, _ in aggregates],
            "ids": [id_ for _, id_ in aggregates],
        }
        cursor.execute(_POSITIONS.format(position=table(consumer, "position")), parameters)
        return {(row[0], row[1]): row[2] for row in cursor.fetchall()}


def _settle(producer: str, positions: list[int]) -> None:
    with connection_of(producer).cursor() as cursor:
        cursor.execute(
            f"UPDATE {table(producer, 'outbox')} SET settled_at = clock_timestamp()"  # noqa: S608
            " WHERE position = ANY(%s) AND settled_at IS NULL",
            [positions],
        )
