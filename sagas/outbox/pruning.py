"""Deleting what nobody needs any more: settled events, old inbox rows, old answers.

Of an event the history keeps a copy for good; without one its outbox row is not deleted.
"""

from typing import Final
from uuid import UUID

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.outbox import catching_up, exchange, starts, stream
from sagas.outbox.apart import Apart
from sagas.outbox.delivery import deliver
from sagas.outbox.history import delete_kept, keep, keep_missed
from sagas.outbox.republish import positions_of
from sagas.transactions import ENGINE, connection_of, table

_PRUNE = {
    "inbox": "applied_at",
    "idempotency": "created_at",
}
# Null for what has not ended, which is never old enough.
_COLUMNS = {**_PRUNE, "watchedflow": "finished_at", "unreadable": "discarded_at"}
BATCH = 5000

_SETTLED = """
SELECT position, id, aggregatetype, aggregateid, sequence FROM {outbox}
WHERE settled_at < clock_timestamp() - make_interval(days => %s) AND position > %s
    AND NOT (outside_due AND %s){streamed}
    AND position <= %s
ORDER BY position LIMIT %s
"""

_STREAMED = """
    AND NOT EXISTS (SELECT FROM {due} d WHERE d.position = {outbox}.position)"""

SEEN: Final = 100
"""Unreadable messages that stay after somebody has discarded them, the latest."""
_SEEN = """
DELETE FROM sagas_unreadable WHERE id IN (
    SELECT id FROM sagas_unreadable WHERE discarded_at IS NOT NULL
    ORDER BY discarded_at DESC, id DESC OFFSET %s)
"""

_END = 2**63 - 1

Row = tuple[int, UUID, str, UUID, int]


def prune() -> int:
    """Delete old rows of every context in batches; return how many.

    An inbox row may go before its event could come again: the position refuses duplicates for
    ever, the inbox row only says when each was applied.
    """
    deleted = 0
    with Apart() as apart:
        with apart.each():
            # What a new consumer has still to read is kept, so it is let read first.
            catching_up.catch_up(conf.STEP_TIMEOUT / 2)
        with apart.each():
            deleted += _prune_table(ENGINE, "inbox") + _prune_table(ENGINE, "watchedflow")
            deleted += _prune_table(ENGINE, "unreadable") + _prune_seen()
        for context in contexts():
            with apart.each():
                keep_missed(context)
                deleted += _prune_events(context)
                deleted += sum(_prune_table(context, name) for name in _PRUNE)
    return deleted


def _prune_table(context: str, name: str) -> int:
    deleted = 0
    while (count := _prune_batch(table(context, name), _COLUMNS[name], context)) > 0:
        deleted += count
        if count < BATCH:
            break
    return deleted


def _prune_seen() -> int:
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_SEEN, [SEEN])
        return int(cursor.rowcount)


def _prune_events(producer: str) -> int:
    """Delete settled events, but none that a consumer of its aggregate has still to read past.

    An event is settled when those who handle it have applied it. A context that handles only
    other events of the aggregate may not have come so far, and must not find a hole.
    """
    deleted = last = 0
    kept_from = starts.kept_from(producer)
    while rows := _settled(producer, last, kept_from):
        last = rows[-1][0]
        kept = {
            row[0]
            for consumer in (*contexts(), ENGINE)
            for row in _unread(producer, consumer, rows)
        }
        done = [row[0] for row in rows if row[0] not in kept]
        keep(producer, done)
        deleted += delete_kept(producer, done)
        if len(rows) < BATCH:
            break
    return deleted


def _settled(producer: str, last: int, kept_from: int | None) -> list[Row]:
    outbox, due = table(producer, "outbox"), table(producer, "streamdue")
    streamed = _STREAMED.format(outbox=outbox, due=due) if stream.address() else ""
    with connection_of(producer).cursor() as cursor:
        cursor.execute(
            _SETTLED.format(outbox=outbox, streamed=streamed),
            [
                int(conf.RETENTION_DAYS),
                last,
                exchange.is_on(),
                _END if kept_from is None else kept_from,
                BATCH,
            ],
        )
        return list(cursor.fetchall())


def _unread(producer: str, consumer: str, rows: list[Row]) -> list[Row]:
    """Let a consumer read on, and return what it could not read."""
    behind = _behind(consumer, rows)
    if behind:
        deliver(producer, consumer, [str(row[1]) for row in behind])
        behind = _behind(consumer, behind)
    return behind


def _behind(consumer: str, rows: list[Row]) -> list[Row]:
    read = positions_of(consumer, [(row[2], row[3]) for row in rows])
    return [row for row in rows if read.get((row[2], row[3]), row[4]) < row[4]]


def _prune_batch(name: str, column: str, context: str) -> int:
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {name} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {name}"  # noqa: S608
            f" WHERE {column} < clock_timestamp() - make_interval(days => %s) LIMIT %s))",
            [int(conf.RETENTION_DAYS), BATCH],
        )
        return int(cursor.rowcount)
