"""What of the outboxes is not published yet, and publishing it while somebody watches."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sagas.outbox.relay import relay_batch
from sagas.transactions import connection_of, table

_READ = """
SELECT count(*) FILTER (WHERE published_at IS NULL),
    min(created_at) FILTER (WHERE published_at IS NULL),
    coalesce(max(attempts) FILTER (WHERE published_at IS NULL), 0),
    count(*) FILTER (WHERE published_at IS NOT NULL)
FROM {outbox} WHERE published_at IS NULL OR settled_at IS NULL
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What one context has not got rid of."""

    context: str
    unsent: int
    oldest: datetime | None
    """Since when the oldest of them has waited."""
    attempts: int
    """How often the most obstinate of them was taken up."""
    unsettled: int
    """Published, and not yet known to have been applied by everyone who listens."""


def backlog(context: str) -> Backlog:
    """Return what waits in a context's outbox."""
    with connection_of(context).cursor() as cursor:
        cursor.execute(_READ.format(outbox=table(context, "outbox")))
        unsent, oldest, attempts, unsettled = cursor.fetchone()
    return Backlog(
        context=context, unsent=unsent, oldest=oldest, attempts=attempts, unsettled=unsettled
    )


def drain(chosen: Iterable[str], said: Callable[[str, int], None]) -> dict[str, int]:
    """Publish until nothing can be published any more; return how many events of each context.

    What another relay has leased is left to it. Ends for a context at the first batch that the
    broker does not take.

    :param said: is told of each batch, with its context and size
    """
    published = dict.fromkeys(chosen, 0)
    for context in published:
        while size := relay_batch(context):
            published[context] += size
            said(context, size)
    return published
