"""Comparing outbox with inbox: "published" proves nothing, only a consumer's position does."""

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.failpoints import failpoint
from sagas.outbox import dead_letters, starts
from sagas.outbox.apart import Apart
from sagas.outbox.relay import deliver_later, may_ring_again
from sagas.outbox.subscriptions import consumers_of
from sagas.sometimes import sometimes
from sagas.transactions import connection_of, table

log = logging.getLogger(__name__)

PAGE = 2000
RAREST: Final = 20
"""Comparisons, on average, for which what is lost waits behind a backlog of others' at the most."""

_UNSETTLED = """
SELECT position, id, type, aggregatetype, aggregateid, sequence, published_at FROM {outbox}
WHERE settled_at IS NULL
    AND published_at <= clock_timestamp() - make_interval(secs => %(after)s)
    AND (published_at, position) > (%(published_at)s::timestamptz, %(position)s)
ORDER BY published_at, position LIMIT %(page)s
"""

_LATE = """
SELECT count(*) FROM {outbox} WHERE settled_at IS NULL
    AND published_at <= clock_timestamp() - make_interval(secs => %s)
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

    :raises django.db.Error: if a database is away, after the others have been compared
    """
    found = 0
    with Apart() as apart:
        rings = _may_ring(apart)
        for context in contexts():
            with apart.each():
                for rows in _unsettled(context):
                    found += _compare(context, rows, apart, rings=rings)
        with apart.each():
            found += dead_letters.retry_due()
    return found


def _may_ring(apart: Apart) -> bool:
    """Return whether what is behind is rung for now; it is settled in any case."""
    late = 0
    for context in contexts():
        with apart.each(), connection_of(context).cursor() as cursor:
            cursor.execute(_LATE.format(outbox=table(context, "outbox")), [conf.REPUBLISH_AFTER])
            late += cursor.fetchone()[0]
    return may_ring_again(late // int(conf.DELIVERY_SIZE), RAREST)


def _compare(producer: str, rows: list[Row], apart: Apart, *, rings: bool) -> int:
    missing: dict[str, list[str]] = {}
    waiting: set[int] = set()
    for consumer in sorted({c for row in rows for c in consumers_of(row[2])}):
        theirs = [row for row in rows if consumer in consumers_of(row[2])]
        # Nothing is known of what a consumer has applied whose database is away.
        behind = theirs
        with apart.each():
            behind = _behind(producer, consumer, theirs)
            if behind and rings:
                missing[consumer] = [str(row[1]) for row in behind]
        waiting |= {row[0] for row in behind}
    if missing:
        sometimes("event.republished")
        failpoint("republish.found", producer)
    for consumer, event_ids in missing.items():
        deliver_later(producer, consumer, event_ids)
    failpoint("republish.delivered", producer)
    with apart.each():
        left = starts.end_old()
        done = [row[0] for row in rows if row[0] not in waiting and row[2] not in left]
        _settle(producer, done)
    found = len({event_id for event_ids in missing.values() for event_id in event_ids})
    if found:
        log.info("republished", extra={"context": producer, "events": found})
    return found


def _behind(producer: str, consumer: str, rows: list[Row]) -> list[Row]:
    """Return what a consumer has still to apply; close the dead letters of what it has applied."""
    border = starts.border_of(consumer, producer)
    theirs = [row for row in rows if row[0] > border]
    positions = positions_of(consumer, [(row[3], row[4]) for row in theirs])
    applied = [row for row in theirs if positions.get((row[3], row[4]), 0) >= row[5]]
    dead_letters.settle(consumer, [row[1] for row in applied])
    done = {row[0] for row in applied}
    return [row for row in theirs if row[0] not in done]


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
