"""What a consumer reads of a producer's outbox: the next events of one aggregate."""

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sagas.conf import conf
from sagas.outbox import past
from sagas.outbox.subscriptions import Envelope
from sagas.statements import cursor_of
from sagas.transactions import table

PAGE: Final = 100

_READ = """
SELECT id, type, version, sequence, occurred_at, correlation_id, causation_id, traceparent, payload,
    coalesce(published_at <= clock_timestamp() - make_interval(secs => %s), false), position,
    created_at, actor
FROM {outbox} AS told
WHERE aggregatetype = %s AND aggregateid = %s AND sequence > %s AND position > %s
ORDER BY sequence LIMIT %s
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One event as it stands in the producer's outbox."""

    envelope: Envelope
    payload: Any
    is_late: bool
    """It was sent so long ago that it has been sent again: nobody has come to its end."""


def read(
    producer: str,
    aggregate_type: str,
    aggregate_id: UUID,
    after: int,
    border: int = 0,
    *,
    news_only: bool = False,
) -> list[Message]:
    """Return a page of the events of an aggregate that come after a number.

    :param border: the position in the producer's events up to which nothing is read
    :param news_only: what the outbox has pruned is of no interest
    """
    asked: list[Any] = [conf.REPUBLISH_AFTER, aggregate_type, aggregate_id, after, border, PAGE]
    with cursor_of(producer) as cursor:
        cursor.execute(_READ.format(outbox=table(producer, "outbox")), asked)
        rows = cursor.fetchall()
        # What the outbox has pruned, the history has: who begins late reads the two as one, and
        # does so again when it goes on from the middle, be it after a page, a death or a letter.
        # Behind a border no number says what comes first there, only that nothing is before 1.
        if not news_only and (not rows or rows[0][3] > after + 1):
            cursor.execute(_READ.format(outbox=past.kept_in(producer)), asked)
            rows = cursor.fetchall()
    return [_message(aggregate_type, aggregate_id, row) for row in rows]


def _message(aggregate_type: str, aggregate_id: UUID, row: tuple[Any, ...]) -> Message:
    return Message(
        envelope=Envelope(
            event_id=row[0],
            name=row[1],
            version=row[2],
            aggregate_type=aggregate_type,
            aggregate_id=aggregate_id,
            sequence=row[3],
            occurred_at=row[4],
            correlation_id=row[5],
            causation_id=row[6],
            traceparent=row[7],
            recorded_at=row[11],
            actor=row[12],
            position=row[10],
        ),
        payload=json.loads(row[8]),
        is_late=row[9],
    )
