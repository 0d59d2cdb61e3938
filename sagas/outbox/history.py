"""The history of a context: rows of its outbox, kept for good.

The relay puts rows there with the statement that marks them. What was marked in any other way (by
a release that knew no history, by hand) is found here, soon or when it is to be pruned, and nothing
that is not there is pruned. All of it may be repeated, and done by several at once: a row has its
position.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sagas.failpoints import failpoint
from sagas.transactions import connection_of, table

COLUMNS = (
    "position, id, aggregatetype, aggregateid, sequence, type, version, payload, occurred_at,"
    " created_at, correlation_id, causation_id, traceparent, actor"
)
"""What a statement has to return of outbox rows, as ``moved``, for those to be kept."""

KEEP = """
INSERT INTO {event} (position, id, aggregatetype, aggregateid, number, type, version, payload,
    occurred_at, recorded_at, correlation_id, causation_id, traceparent, actor)
SELECT * FROM moved ORDER BY position
ON CONFLICT DO NOTHING
"""

_MISSED = """
WITH moved AS (
    SELECT {columns} FROM {outbox}
    WHERE position = ANY(%s) AND published_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM {event} e WHERE e.id = {outbox}.id))
{keep}
"""
_ENDS = "SELECT coalesce(min(position), 1), coalesce(max(position), 0) FROM {outbox}"

_DELETE = """
DELETE FROM {outbox} WHERE position = ANY(%s) AND id IN (SELECT id FROM {event})
"""

PAGE: Final = 5000
NEWEST: Final = 100_000
"""Positions among which is looked for what was missed. What is older is kept when it is pruned."""


def keep_missed(context: str) -> int:
    """Put into the history what was sent lately and is not there; return how many rows.

    A row that is not sent yet is left to its relay. Not through all that waits to be pruned: of a
    month there may be more than fits into the time of a task, which would never come to prune.
    """
    kept = 0
    with connection_of(context).cursor() as cursor:
        cursor.execute(filled(_ENDS, context))
        first, last = cursor.fetchone()
    for start in range(max(first, last - NEWEST + 1), last + 1, PAGE):
        kept += keep(context, range(start, min(start + PAGE, last + 1)))
    return kept


def keep(context: str, positions: Iterable[int]) -> int:
    """Put into the history what of these was sent and is not there; return how many rows."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(filled(_MISSED, context, keep=KEEP), [list(positions)])
        kept = int(cursor.rowcount)
    failpoint("history.kept", context)
    return kept


def delete_kept(context: str, positions: Sequence[int]) -> int:
    """Delete outbox rows as far as they are in the history; return how many."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(filled(_DELETE, context), [list(positions)])
        return int(cursor.rowcount)


def filled(statement: str, context: str, keep: str = "") -> str:
    """Put a context's tables into a statement, and what keeps the rows that it calls ``moved``."""
    tables = {"outbox": table(context, "outbox"), "event": table(context, "event")}
    return statement.format(columns=COLUMNS, keep=keep.format(**tables), **tables)
