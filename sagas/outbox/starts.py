"""How a new consumer begins: with the first event that was ever told, or with those from now on.

When a context is seen to listen to a producer for the first time, a row says where it began. With
``now`` that is a border in the producer's positions, which cuts the events of every aggregate in
two; it does not read those before. With ``first`` a tick goes through the past and lets the
ordinary delivery bring each aggregate up to date. What comes next is decided there by the
position, so what is told meanwhile, or brought by two ticks at once, is applied once and in order.
"""

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import F
from django.db.models.functions import Now

from sagas.conf import conf
from sagas.core.commands import context_of
from sagas.failpoints import failpoint
from sagas.models.consumer import Consumer
from sagas.outbox import past
from sagas.outbox.apart import Apart
from sagas.outbox.subscriptions import listeners, start_of
from sagas.transactions import ENGINE, connection_of

log = logging.getLogger(__name__)

FIRST, NOW = "first", "now"

_BEGIN = """
INSERT INTO sagas_consumer (consumer, producer, start, border, read_to, names)
VALUES (%(consumer)s, %(producer)s, %(start)s, %(border)s, %(read_to)s, %(names)s::jsonb)
ON CONFLICT (consumer, producer) DO NOTHING
"""

# Back to where it began: what it listens to from now on was perhaps told long ago. What others
# have added meanwhile stays, and who adds nothing sends nobody back.
_LISTEN_TO_MORE = """
UPDATE sagas_consumer SET
    names = (SELECT jsonb_agg(DISTINCT name) FROM jsonb_array_elements(names || %(more)s::jsonb)
        AS added (name)),
    caught_up_at = NULL, listens_since = clock_timestamp(),
    read_to = CASE start WHEN 'now' THEN border ELSE 0 END
WHERE id = %(id)s AND NOT names @> %(more)s::jsonb
"""

_SAY = """
UPDATE sagas_consumer SET said = said || (
    SELECT jsonb_object_agg(name, extract(epoch FROM clock_timestamp()))
    FROM jsonb_array_elements_text(%(names)s::jsonb) AS each (name))
WHERE consumer = %(consumer)s AND producer = %(producer)s
"""

# What another release has said so lately that it may still run is left to it.
_LISTEN_TO_LESS = """
UPDATE sagas_consumer SET names = names - %(name)s::text
WHERE id = %(id)s AND greatest((said ->> %(name)s::text)::float8, extract(epoch FROM listens_since))
    <= extract(epoch FROM clock_timestamp()) - %(grace)s
"""

_TO_COME = """
SELECT count(*), min(occurred_at) FROM {past} AS past
WHERE position > %s AND position <= %s AND type = ANY(%s)
"""
_NEXT = "SELECT occurred_at FROM {past} AS past WHERE position > %s ORDER BY position LIMIT 1"

COUNTED: Final = 10
"""So many slices of the past are counted of what is to come."""


def begin_new() -> None:
    """Write down each context that listens to another for the first time, or to more of it.

    Safe to repeat and by many at once: who is first says where it begins, and that stands.

    :raises django.db.Error: if a database is away, after the others have had their turn
    """
    rows = list(Consumer.objects.annotate(now=Now()))
    _end_old(rows)
    known = {(row.consumer, row.producer): row for row in rows}
    with Apart() as apart:
        for (consumer, producer), names in listeners().items():
            if consumer == ENGINE:
                continue  # what is asked of the engine is news only until it is done
            row = known.get((consumer, producer))
            with apart.each():
                if row is None:
                    _begin(consumer, producer, names)
                else:
                    _go_on(row, names)
                if row is None or not _is_said_lately(row, names):
                    _say(consumer, producer, names)


def end_old() -> frozenset[str]:
    """Take from who listens what no release has a handler of; return what only others have.

    A release that is taken back may come again, and then it begins anew with what it listened to.
    So this comes before anything is settled because nobody listens to it, and what is returned is
    not settled: a release that runs listens to it.
    """
    return _end_old(Consumer.objects.all())


def _end_old(rows: Iterable[Consumer]) -> frozenset[str]:
    listening = listeners()
    return frozenset(
        name
        for row in rows
        for name in set(row.names) - listening.get((row.consumer, row.producer), frozenset())
        if not _listen_to_less(row, name)
    )


def _go_on(row: Consumer, names: frozenset[str]) -> None:
    said = start_of(row.consumer, row.producer)
    if said != row.start:
        log.warning(
            "start_changed",
            extra={"context": row.consumer, "reason": f"says {said}, began with {row.start}"},
        )
    if not names <= set(row.names):
        _listen_to_more(row, names)


def _is_said_lately(row: Any, names: frozenset[str]) -> bool:
    lately = row.now.timestamp() - conf.START_GRACE / 3
    return all(row.said.get(name, 0) > lately for name in names)


def _begin(consumer: str, producer: str, names: frozenset[str]) -> None:
    start = start_of(consumer, producer) or FIRST
    border = past.last_position(producer)
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(
            _BEGIN,
            {
                "consumer": consumer,
                "producer": producer,
                "start": start,
                "border": border,
                "read_to": border if start == NOW else 0,
                "names": json.dumps(sorted(names)),
            },
        )
    failpoint("consumer.begun", consumer)


def _listen_to_more(row: Consumer, names: frozenset[str]) -> None:
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_LISTEN_TO_MORE, {"id": row.id, "more": json.dumps(sorted(names))})
    failpoint("consumer.begun", row.consumer)


def _say(consumer: str, producer: str, names: frozenset[str]) -> None:
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(
            _SAY,
            {"consumer": consumer, "producer": producer, "names": json.dumps(sorted(names))},
        )
    failpoint("consumer.begun", consumer)


def _listen_to_less(row: Consumer, name: str) -> bool:
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_LISTEN_TO_LESS, {"name": name, "id": row.id, "grace": conf.START_GRACE})
        done = bool(cursor.rowcount == 1)
    failpoint("consumer.begun", row.consumer)
    if done:
        log.warning("listens_to_less", extra={"context": row.consumer, "reason": name})
    return done


def border_of(consumer: str, producer: str) -> int:
    """Return the position up to which a consumer does not read a producer's events.

    A context that says ``now`` and is not written down yet begins here.
    """
    row = Consumer.objects.filter(consumer=consumer, producer=producer).first()
    if row is None:
        if start_of(consumer, producer) != NOW:
            return 0
        # Of these two alone: another producer, whose database is away, is no reason to wait.
        names = listeners()[consumer, producer]
        _begin(consumer, producer, names)
        _say(consumer, producer, names)
        row = Consumer.objects.get(consumer=consumer, producer=producer)
    return row.border if row.start == NOW else 0


def is_of_another_release(consumer: str, event: str) -> bool:
    """Return whether a consumer has begun to listen to an event so lately that others may run yet.

    Whoever has no handler of it is then of the release before, and must not go past it. That one
    may run beside the newer for longer. Where it has nothing to hear of the producer it goes past
    nothing as long as a release says that it listens; else its own events stand behind, so it does,
    and says so.
    """
    producer = context_of(event)
    rows = Consumer.objects.filter(consumer=consumer, producer=producer)
    row: Any = rows.filter(names__contains=[event]).annotate(now=Now()).first()
    if row is None:
        return False
    lately = row.now - timedelta(seconds=conf.START_GRACE)
    if row.listens_since > lately:
        return True
    if row.said.get(event, 0) <= lately.timestamp():
        return False
    if (consumer, producer) not in listeners():
        return True
    log.warning("passed_by", extra={"context": consumer, "reason": event})
    return False


def kept_from(producer: str) -> int | None:
    """Return up to where all consumers have read what was told before they began.

    None when every one of them has read all of it.
    """
    rows = Consumer.objects.filter(producer=producer, caught_up_at=None, read_to__lt=F("border"))
    return rows.order_by("read_to").values_list("read_to", flat=True).first()


def to_come(consumer: str, producer: str) -> tuple[int, datetime | None]:
    """Return how many events from before a consumer began it has still to apply, and since when.

    At least so many: they are counted as far as some statements go, of which each has an end.
    """
    row = Consumer.objects.filter(consumer=consumer, producer=producer, caught_up_at=None).first()
    if row is None or row.read_to >= row.border:
        return 0, None
    count, since, after = 0, None, row.read_to
    with connection_of(producer).cursor() as cursor:
        for _ in range(COUNTED):
            upto = min(row.border, after + past.SLICE)
            cursor.execute(_TO_COME.format(past=past.kept_in(producer)), [after, upto, row.names])
            [(found, first)] = cursor.fetchall()
            count, since, after = count + int(found), since or first, upto
            if after == row.border:
                return count, since
        if since is None:
            # Whatever it has still to read was told no earlier than what stands there.
            cursor.execute(_NEXT.format(past=past.kept_in(producer)), [after])
            since = next((at for (at,) in cursor.fetchall()), None)
    return count, since
