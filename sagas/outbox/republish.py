"""Comparing outbox with inbox: "published" proves nothing, only a consumer's position does."""

import logging
from collections import defaultdict
from typing import Any
from uuid import UUID

from django.conf import settings

from sagas.conf import conf
from sagas.failpoints import failpoint
from sagas.outbox import dead_letters
from sagas.outbox.relay import deliver_later
from sagas.outbox.subscriptions import consumers_of
from sagas.transactions import connection_of, table

log = logging.getLogger(__name__)

_UNSETTLED = """
SELECT position, id, type, aggregatetype, aggregateid, sequence FROM {outbox}
WHERE settled_at IS NULL
    AND published_at <= clock_timestamp() - make_interval(secs => %(after)s)
ORDER BY published_at LIMIT 2000
"""

_POSITIONS = """
SELECT p.aggregatetype, p.aggregateid, p.sequence FROM {position} p
JOIN unnest(%(types)s::text[], %(ids)s::uuid[]) AS wanted (aggregatetype, aggregateid)
    USING (aggregatetype, aggregateid)
"""

Row = tuple[int, UUID, str, str, UUID, int]


def republish() -> int:
    """Deliver again what some consumer has not applied in time; return how many events.

    Events that every consumer has applied are marked as settled, which is what lets them be
    pruned. A broker that lost everything costs this interval.
    """
    return sum(_compare(context) for context in settings.CONTEXTS) + dead_letters.retry_due()


def _compare(producer: str) -> int:
    rows = _unsettled(producer)
    missing: dict[str, list[str]] = defaultdict(list)
    waiting: set[int] = set()
    for consumer in sorted({c for row in rows for c in consumers_of(row[2])}):
        theirs = [row for row in rows if consumer in consumers_of(row[2])]
        positions = _positions(consumer, theirs)
        applied = []
        for row in theirs:
            if positions.get((row[3], row[4]), 0) >= row[5]:
                applied.append(row[1])
            else:
                missing[consumer].append(str(row[1]))
                waiting.add(row[0])
        dead_letters.settle(consumer, applied)
    if missing:
        failpoint("republish.found", producer)
    for consumer, event_ids in missing.items():
        deliver_later(producer, consumer, event_ids)
    _settle(producer, [row[0] for row in rows if row[0] not in waiting])
    if waiting:
        log.info("republished", extra={"context": producer, "events": len(waiting)})
    return len(waiting)


def _unsettled(producer: str) -> list[Row]:
    with connection_of(producer).cursor() as cursor:
        cursor.execute(
            _UNSETTLED.format(outbox=table(producer, "outbox")), {"after": conf.REPUBLISH_AFTER}
        )
        return list(cursor.fetchall())


def _positions(consumer: str, rows: list[Row]) -> dict[tuple[str, UUID], int]:
    with connection_of(consumer).cursor() as cursor:
        parameters: dict[str, Any] = {
            "types": [row[3] for row in rows],
            "ids": [row[4] for row in rows],
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
