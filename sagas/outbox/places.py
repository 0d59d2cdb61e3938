"""Where a consumer is with an aggregate, asked in one go before anything of it is read."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sagas.outbox import dead_letters, starts
from sagas.outbox.dead_letters import Standing
from sagas.outbox.positions import position
from sagas.statements import cursor_of
from sagas.transactions import is_detached, table

_LOOK: Final = """
SELECT count(*) FILTER (WHERE next_at IS NULL OR next_at > statement_timestamp()), count(*),
    coalesce((SELECT sequence FROM {position}
        WHERE aggregatetype = %(type)s AND aggregateid = %(id)s), 0),
    (SELECT CASE start WHEN 'now' THEN border ELSE 0 END FROM sagas_consumer
        WHERE consumer = %(consumer)s AND producer = %(producer)s)
FROM sagas_deadletter
WHERE context = %(consumer)s AND aggregate_type = %(type)s AND aggregate_id = %(id)s
    AND resolved_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Place:
    """What decides which event of an aggregate a consumer reads next, if any."""

    letters: Standing
    position: int
    """The number of the last event that it has applied."""
    border: int
    """Up to here nothing is read of the producer's events."""


def place_of(producer: str, consumer: str, aggregate_type: str, aggregate_id: UUID) -> Place:
    """Return where a consumer is with an aggregate of a producer."""
    # Dead letters and the beginnings of consumers are the engine's, positions the consumer's own.
    if is_detached(consumer):
        letters = dead_letters.standing(consumer, aggregate_type, aggregate_id)
        after = position(consumer, aggregate_type, aggregate_id)
        return Place(letters, after, _border(producer, consumer, after, None))
    told: dict[str, Any] = {
        "producer": producer,
        "consumer": consumer,
        "type": aggregate_type,
        "id": aggregate_id,
    }
    with cursor_of(consumer) as cursor:
        cursor.execute(_LOOK.format(position=table(consumer, "position")), told)
        held, letters_there, after, border = cursor.fetchone()
    standing = Standing.of(held=held, all_of_them=letters_there)
    return Place(standing, after, _border(producer, consumer, after, border))


def _border(producer: str, consumer: str, after: int, known: int | None) -> int:
    # What was told before a consumer of ``now`` began has no place in its positions.
    if after:
        return 0
    return starts.border_of(consumer, producer) if known is None else known
