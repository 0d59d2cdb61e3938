"""The history of a context: rows of its outbox, kept for good.

The relay puts rows there with the statement that marks them. What was marked in any other way (by
a release that knew no history, by hand) is found here, in pages, and nothing that is not there is
pruned. All of it may be repeated, and done by several at once: a row has its position.
"""

from collections.abc import Sequence
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
WITH page AS (
    SELECT position, published_at FROM {outbox}
    WHERE position > %(after)s ORDER BY position LIMIT %(page)s),
moved AS (
    SELECT {columns} FROM {outbox}
    WHERE position IN (SELECT position FROM page WHERE published_at IS NOT NULL)
        AND NOT EXISTS (SELECT FROM {event} e WHERE e.id = {outbox}.id)),
kept AS ({keep} RETURNING 1)
SELECT (SELECT max(position) FROM page), (SELECT count(*) FROM kept)
"""

_DELETE = """
DELETE FROM {outbox} WHERE position = ANY(%s) AND id IN (SELECT id FROM {event})
"""

PAGE: Final = 5000


def keep_missed(context: str) -> int:
    """Put into the history what was sent and is not there; return how many rows.

    A row that is not sent yet is left to its relay.
    """
    kept = 0
    after: int | None = 0
    while after is not None:
        after, count = _keep_page(context, after)
        kept += count
        failpoint("history.kept", context)
    return kept


def _keep_page(context: str, after: int) -> tuple[int | None, int]:
    statement = filled(_MISSED, context, keep=KEEP)
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement, {"after": after, "page": PAGE})
        last, kept = cursor.fetchone()
    return last, kept


def delete_kept(context: str, positions: Sequence[int]) -> int:
    """Delete outbox rows as far as they are in the history; return how many."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(filled(_DELETE, context), [list(positions)])
        return int(cursor.rowcount)


def filled(statement: str, context: str, keep: str = "") -> str:
    """Put a context's tables into a statement, and what keeps the rows that it calls ``moved``."""
    tables = {"outbox": table(context, "outbox"), "event": table(context, "event")}
    return statement.format(columns=COLUMNS, keep=keep.format(**tables), **tables)
