"""Deleting what nobody needs any more: settled events, old inbox rows, old answers.

Of an event the history keeps a copy for good; without one its outbox row is not deleted.
"""

from dataclasses import dataclass
from math import inf
from random import sample
from time import monotonic
from typing import Final
from uuid import UUID

from celery import current_app
from celery.canvas import Signature

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.orchestration import canvas
from sagas.outbox import alone, catching_up, exchange, starts, stream
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

KEY: Final = "sagas:prune"

Row = tuple[int, UUID, str, UUID, int]


@dataclass(slots=True)
class _Time:
    """The time of one run, which remembers whether it has cut off somebody who got on."""

    end: float = inf
    is_cut: bool = False

    def is_over(self) -> bool:
        """Return whether to leave to the next run what there is more."""
        self.is_cut = self.is_cut or monotonic() > self.end
        return self.is_cut


def tick() -> None:
    """Prune for a slice, and ring for the next one while there is more.

    Whoever is behind is let read on first, which takes far longer than to delete: were one run all
    there is in an hour, it would be outrun by what a busy shop tells. Of several ticks at once one
    goes on: what takes longer than an hour would else have one more worker with each hour.
    """
    token = alone.begins_alone(KEY, round(1000 * conf.HARD_LIMIT))
    if token is None:
        return
    time = _Time(monotonic() + conf.STEP_TIMEOUT / 2)
    with Apart() as apart:
        with apart.each():
            prune(time)
        alone.lets_others(KEY, token)
        if time.is_cut:
            options = {"queue": "ticks"}
            canvas.publish(
                Signature("sagas.prune", options=options, immutable=True, app=current_app)
            )


def prune(time: _Time | None = None) -> int:
    """Delete old rows of every context in batches; return how many.

    An inbox row may go before its event could come again: the position refuses duplicates for
    ever, the inbox row only says when each was applied.

    :param time: when it is over, the rest is left to the next run
    """
    time, deleted = time or _Time(), 0
    with Apart() as apart:
        with apart.each():
            # What a new consumer has still to read is kept, so it is let read first.
            catching_up.catch_up(conf.STEP_TIMEOUT / 4)
        with apart.each():
            deleted += _prune_table(ENGINE, "inbox", time)
            deleted += _prune_table(ENGINE, "watchedflow", time)
            deleted += _prune_table(ENGINE, "unreadable", time) + _prune_seen()
        # In any order: none that has much to prune keeps the others waiting for good.
        for context in sample(contexts(), len(contexts())):
            with apart.each():
                keep_missed(context)
                deleted += sum(_prune_table(context, name, time) for name in _PRUNE)
                deleted += _prune_events(context, time)
    return deleted


def _prune_table(context: str, name: str, time: _Time) -> int:
    deleted = 0
    while (count := _prune_batch(table(context, name), _COLUMNS[name], context)) > 0:
        deleted += count
        if count < BATCH or time.is_over():
            break
    return deleted


def _prune_seen() -> int:
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_SEEN, [SEEN])
        return int(cursor.rowcount)


def _prune_events(producer: str, time: _Time) -> int:
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
            for row in _unread(producer, consumer, rows, time)
        }
        done = [row[0] for row in rows if row[0] not in kept]
        keep(producer, done)
        deleted += delete_kept(producer, done)
        # What nobody can read past yet, however much, does not stand before the rest.
        if len(rows) < BATCH or (deleted and time.is_over()):
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


def _unread(producer: str, consumer: str, rows: list[Row], time: _Time) -> list[Row]:
    """Let a consumer read on while there is time, and return what it could not read."""
    behind = _behind(consumer, rows)
    if not behind:
        return []
    ids, size = [str(row[1]) for row in behind], int(conf.DELIVERY_SIZE)
    pages = [ids[start : start + size] for start in range(0, len(ids), size)]
    is_cut = False
    # In any order: those that stand behind dead letters keep none waiting for good.
    for number, page in enumerate(sample(pages, len(pages))):
        is_cut = number > 0 and monotonic() > time.end
        if is_cut:
            break
        deliver(producer, consumer, page)
    left = _behind(consumer, behind)
    # Where nobody got on there is nothing that a further run could do.
    time.is_cut = time.is_cut or (is_cut and len(left) < len(behind))
    return left


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
