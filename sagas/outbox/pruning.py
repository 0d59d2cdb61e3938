"""Deleting what nobody needs any more: settled events, old inbox rows, old answers."""

from django.conf import settings

from sagas.conf import conf
from sagas.transactions import connection_of, table

_PRUNE = {
    "outbox": "settled_at",
    "inbox": "applied_at",
    "idempotency": "created_at",
}
BATCH = 5000


def prune() -> int:
    """Delete old rows of every context in batches; return how many.

    An inbox row may go before its event could come again: the position refuses duplicates for
    ever, the inbox row only says when each was applied.
    """
    deleted = 0
    for context in settings.CONTEXTS:
        for name, column in _PRUNE.items():
            while (count := _prune_batch(table(context, name), column, context)) > 0:
                deleted += count
                if count < BATCH:
                    break
    return deleted


def _prune_batch(name: str, column: str, context: str) -> int:
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {name} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {name}"  # noqa: S608
            f" WHERE {column} < clock_timestamp() - make_interval(days => %s) LIMIT %s))",
            [int(conf.RETENTION_DAYS), BATCH],
        )
        return int(cursor.rowcount)
