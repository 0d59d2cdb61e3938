"""How a new consumer begins: with the first event that was ever told, or with those from now on.

When a context is seen to listen to a producer for the first time, a row says where it began. With
``now`` that is a border in the producer's positions, which cuts the events of every aggregate in
two; it does not read those before. With ``first`` a tick goes through the past and lets the
ordinary delivery bring each aggregate up to date. What comes next is decided there by the
position, so what is told meanwhile, or brought by two ticks at once, is applied once and in order.
"""

import json
import logging
from datetime import datetime, timedelta

from django.db.models import F
from django.db.models.functions import Now

from sagas.conf import conf
from sagas.core.commands import context_of
from sagas.failpoints import failpoint
from sagas.models.consumer import Consumer
from sagas.outbox import past
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

# What another release has begun to listen to so lately that it may still run is left to it.
_LISTEN_TO_LESS = """
UPDATE sagas_consumer SET names = names - %s::text[]
WHERE id = %s AND listens_since <= clock_timestamp() - make_interval(secs => %s)
"""

_TO_COME = """
SELECT count(*), min(occurred_at) FROM {past} AS past
WHERE position > %s AND position <= %s AND type = ANY(%s)
"""


def begin_new() -> None:
    """Write down each context that listens to another for the first time, or to more of it.

    Safe to repeat and by many at once: who is first says where it begins, and that stands.
    """
    known = {(row.consumer, row.producer): row for row in end_old()}
    for (consumer, producer), names in listeners().items():
        if consumer == ENGINE:
            continue  # what is asked of the engine is news only until it is done
        row = known.get((consumer, producer))
        if row is None:
            _begin(consumer, producer, names)
            continue
        said = start_of(consumer, producer)
        if said != row.start:
            log.warning(
                "start_changed",
                extra={"context": consumer, "reason": f"says {said}, began with {row.start}"},
            )
        if not names <= set(row.names):
            _listen_to_more(row, names)


def end_old() -> list[Consumer]:
    """Take from who listens what this release has no handler of; return how they stood.

    A release that is taken back may come again, and then it begins anew with what it listened to.
    So this comes before anything is settled because nobody listens to it.
    """
    rows, listening = list(Consumer.objects.all()), listeners()
    for row in rows:
        gone = set(row.names) - listening.get((row.consumer, row.producer), frozenset())
        if gone:
            _listen_to_less(row, sorted(gone))
    return rows


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


def _listen_to_less(row: Consumer, gone: list[str]) -> None:
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_LISTEN_TO_LESS, [gone, row.id, conf.START_GRACE])
        done = cursor.rowcount == 1
    if done:
        log.warning("listens_to_less", extra={"context": row.consumer, "reason": ", ".join(gone)})
    failpoint("consumer.begun", row.consumer)


def border_of(consumer: str, producer: str) -> int:
    """Return the position up to which a consumer does not read a producer's events.

    A context that says ``now`` and is not written down yet begins here.
    """
    row = Consumer.objects.filter(consumer=consumer, producer=producer).first()
    if row is None:
        if start_of(consumer, producer) != NOW:
            return 0
        begin_new()
        row = Consumer.objects.get(consumer=consumer, producer=producer)
    return row.border if row.start == NOW else 0


def is_of_another_release(consumer: str, event: str) -> bool:
    """Return whether a consumer has begun to listen to an event so lately that others may run yet.

    Whoever has no handler of it is then of the release before, and must not go past it.
    """
    since = Now() - timedelta(seconds=conf.START_GRACE)
    rows = Consumer.objects.filter(consumer=consumer, producer=context_of(event))
    return rows.filter(names__contains=[event], listens_since__gt=since).exists()


def kept_from(producer: str) -> int | None:
    """Return up to where all consumers have read what was told before they began.

    None when every one of them has read all of it.
    """
    rows = Consumer.objects.filter(producer=producer, caught_up_at=None, read_to__lt=F("border"))
    return rows.order_by("read_to").values_list("read_to", flat=True).first()


def to_come(consumer: str, producer: str) -> tuple[int, datetime | None]:
    """Return how many events from before a consumer began it has still to apply, and since when."""
    row = Consumer.objects.filter(consumer=consumer, producer=producer, caught_up_at=None).first()
    if row is None or row.read_to >= row.border:
        return 0, None
    with connection_of(producer).cursor() as cursor:
        cursor.execute(
            _TO_COME.format(past=past.kept_in(producer)), [row.read_to, row.border, row.names]
        )
        count, since = cursor.fetchall()[0]
    return int(count), since
