"""How far a consumer has read an aggregate."""

from uuid import UUID

from sagas.statements import cursor_of
from sagas.transactions import table


def position(consumer: str, aggregate_type: str, aggregate_id: UUID) -> int:
    """Return the number of the last event of an aggregate that a consumer has applied."""
    with cursor_of(consumer) as cursor:
        cursor.execute(
            f"SELECT sequence FROM {table(consumer, 'position')}"  # noqa: S608
            " WHERE aggregatetype = %s AND aggregateid = %s",
            [aggregate_type, aggregate_id],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def missing_before(
    consumer: str, aggregate_type: str, aggregate_id: UUID, sequence: int
) -> int | None:
    """Return the first number before that one which is not applied; None where it is the next.

    Where there is no position any event opens it.
    """
    after = position(consumer, aggregate_type, aggregate_id)
    return after + 1 if 0 < after < sequence - 1 else None


def lost_words(number: int) -> str:
    """Return what the letter of the event behind a hole says."""
    return f"number {number} of its aggregate is neither in the outbox nor in the history"
