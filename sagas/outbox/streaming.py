"""Bringing events into the stream, beside our own deliveries: neither waits for the other.

What is due is a row in a table of its own, written with the event. At least once: appended with
no transaction open, then the row is deleted.

Note [The oldest that is due goes first]

Rows of one aggregate become visible in the order of their numbers, since each is written under the
aggregate's lock. So whoever reads what is due, the oldest first, has all that precedes an event in
front of it, or somebody had appended that. This also holds for two at once, and for one that froze
and thaws: what comes for the first time comes in the order of its aggregate. The lease
only saves doing it twice (docs/decisions/0043-the-stream-has-a-mark-of-its-own.md).
"""

import logging
from datetime import datetime
from typing import Any, Final

from django.apps import apps

from sagas import error_texts
from sagas.answering import Answering
from sagas.conf import conf
from sagas.contexts import contexts
from sagas.failpoints import failpoint
from sagas.outbox import bell, stream
from sagas.outbox.apart import Apart
from sagas.outbox.subscriptions import REQUEST
from sagas.statements import cursor_of
from sagas.transactions import outside_transaction, table

log = logging.getLogger(__name__)

# Taking the lease is a commit that waits for the disk, which takes along what was read: an event
# that is in the stream cannot be lost any more with a server. Where nothing is due nothing is
# written. Of what somebody else has, one row says so.
_TAKE = """
WITH due AS MATERIALIZED (SELECT position FROM {due} ORDER BY position LIMIT %(batch)s),
taken AS (
    UPDATE {lease} SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE EXISTS (SELECT FROM due) AND id IN (
        SELECT id FROM {lease} WHERE leased_until <= clock_timestamp() FOR UPDATE SKIP LOCKED)
    RETURNING leased_until)
SELECT taken.leased_until, position, {columns}
FROM due LEFT JOIN taken ON true LEFT JOIN {outbox} USING (position)
WHERE taken.leased_until IS NOT NULL OR position = (SELECT min(position) FROM due)
ORDER BY position
"""
# Does not wait for the disk: what a server forgets of it is appended again.
_DONE = """
WITH given_back AS (
    UPDATE {lease} SET leased_until = clock_timestamp(), failures = 0, error = ''
    WHERE leased_until = %(mine)s RETURNING set_config('synchronous_commit', 'off', true))
DELETE FROM {due} WHERE position = ANY(%(positions)s)
"""
_FAILED = """
UPDATE {lease} SET failures = failures + 1, error = %(error)s,
    leased_until = clock_timestamp()
        + make_interval(secs => least(%(cap)s, %(base)s * 2 ^ least(failures, 20)))
WHERE leased_until = %(mine)s
"""
_MAKE = """
INSERT INTO {lease} (id, leased_until) VALUES (1, '-infinity') ON CONFLICT DO NOTHING RETURNING id
"""
MOST_BATCHES: Final = 20


def streamed() -> tuple[str, ...]:
    """Return the contexts whose events go into the stream; none when there is no stream."""
    return contexts() if stream.address() else ()


def answer(context: str = "") -> None:
    """Bring what waits into the stream: of a context whose ring nobody has taken, else of all."""
    with Apart() as apart:
        for each in streamed():
            if not context or (each == context and bell.is_left_to_us(each)):
                with apart.each():
                    send(each)


def send(context: str) -> int:
    """Bring what waits into the stream, as far as one run may; return how many events."""
    total = 0
    for _ in range(MOST_BATCHES):
        # Until nothing is left: whoever found the lease taken has left its event to this run.
        sent = send_batch(context)
        if not sent:
            break
        total += sent
    return total


def send_batch(context: str) -> int | None:
    """Bring the oldest events that wait into the stream; return how many.

    None when somebody else is at it, or when a stream that failed is left alone for now: what
    waits is to be looked at again.
    """
    outside_transaction()
    mine, rows = _take(context)
    if not rows:
        return 0
    if mine is None:
        return None
    failpoint("stream.selected", context)
    try:
        stream.append(context, [row[1:] for row in rows if _is_told(row)])
    except stream.Away as away:
        log.warning("stream_unreached", extra={"context": context, "error": str(away)})
        _fail(context, mine, str(away))
        return None
    failpoint("stream.published", context)
    _execute(_DONE, context, {"mine": mine, "positions": [row[0] for row in rows]})
    failpoint("stream.committed", context)
    return len(rows)


def trouble(there: Answering) -> str:
    """Return why events do not get into the stream, in words, or nothing."""
    for context in there.among(streamed()):
        lease: Any = apps.get_model(context, "StreamLease")
        if failing := lease.objects.filter(failures__gt=0).first():
            return f"Events of {context} are not taken by the stream: {failing.error}."
    return ""


def _is_told(row: tuple[Any, ...]) -> bool:
    # An event that was pruned while there was no stream has left its row behind.
    return row[1] is not None and not row[4].endswith(f".{REQUEST}")


def _take(context: str) -> tuple[datetime | None, list[tuple[Any, ...]]]:
    """Take the lease if anything is due; return until when it is ours, and the events."""
    parameters = {"batch": int(conf.RELAY_BATCH), "lease": conf.RELAY_LEASE}
    found = _execute(_TAKE, context, parameters)
    # At the very first time there is no lease to take yet.
    if found and found[0][0] is None and _execute(_MAKE, context, {}):
        found = _execute(_TAKE, context, parameters)
    return (found[0][0] if found else None), [row[1:] for row in found]


def _fail(context: str, mine: datetime, error: str) -> None:
    _execute(
        _FAILED,
        context,
        {
            "mine": mine,
            "error": error_texts.storable(error),
            "base": conf.DELAY_BASE,
            "cap": conf.DELAY_CAP,
        },
    )


def _execute(statement: str, context: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    names = {
        "due": table(context, "streamdue"),
        "lease": table(context, "streamlease"),
        "outbox": table(context, "outbox"),
    }
    with cursor_of(context) as cursor:
        cursor.execute(statement.format(columns=stream.COLUMNS, **names), parameters)
        return list(cursor.fetchall()) if cursor.description else []
