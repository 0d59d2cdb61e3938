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


def is_behind_a_hole(consumer: str, aggregate_type: str, aggregate_id: UUID, sequence: int) -> bool:
    """Return whether an event before that number is not applied, so that it cannot be either.

    Where there is no position any event opens it.
    """
    return 0 < position(consumer, aggregate_type, aggregate_id) < sequence - 1
