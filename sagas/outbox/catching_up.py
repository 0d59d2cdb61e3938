"""Bringing a new consumer from the first event to the present.

A tick goes through the past in the order of its positions and lets the ordinary delivery apply
what the consumer has not applied. The note of how far it has come moves only past events that
the consumer's own positions confirm or a dead letter holds, so a tick that dies is taken up where
it was.
"""

import logging
import time
from datetime import timedelta
from uuid import UUID

from celery import current_app
from celery.canvas import Signature
from django.db.models import Q
from django.db.models.functions import Now

from sagas.conf import conf
from sagas.failpoints import failpoint
from sagas.models.consumer import Consumer
from sagas.models.dead_letter import DeadLetter
from sagas.orchestration import canvas
from sagas.outbox import alone, dead_letters, past, starts
from sagas.outbox.apart import Apart
from sagas.outbox.dead_letters import Attempt
from sagas.outbox.delivery import deliver
from sagas.outbox.past import PastEvent
from sagas.outbox.positions import lost_words, position
from sagas.outbox.reading import read
from sagas.outbox.republish import positions_of
from sagas.outbox.subscriptions import listeners
from sagas.transactions import ENGINE, connection_of

log = logging.getLogger(__name__)

PAGE = 50
PATIENCE = 0.1

_READ = """
UPDATE sagas_consumer SET read_to = %s
WHERE id = %s AND read_to < %s AND names = %s
"""


KEY = "sagas:catch_up"
LIFE_MS = 10_000
SLICE = 0.2
"""Seconds of one tick; what is left then is the next message's."""


def tick() -> None:
    """Catch up for a slice, and ring for the next one while something is left.

    Of several ticks at once one goes on: the past must not keep every worker from the present.
    """
    token = alone.begins_alone(KEY, LIFE_MS)
    if token is None:
        return
    began = time.monotonic()
    with Apart() as apart:
        applied, goes_on = _catch_up_all(SLICE, apart)
        spent = time.monotonic() - began >= SLICE
        alone.lets_others(KEY, token)
        if spent and (applied or goes_on):
            canvas.publish(
                Signature(
                    "sagas.catch_up", options={"queue": "ticks"}, immutable=True, app=current_app
                )
            )


def catch_up(seconds: float) -> int:
    """Let each new consumer apply what was told before it began; return how many events.

    Safe to repeat, and by several workers at once.

    :param seconds: after so long the rest is left to the next tick
    :raises django.db.Error: if a database is away, after the others have had their turn
    """
    with Apart() as apart:
        return _catch_up_all(seconds, apart)[0]


def _catch_up_all(seconds: float, apart: Apart) -> tuple[int, bool]:
    """Return also whether the time was up for one that had got on."""
    with apart.each():
        starts.begin_new()
    applied, goes_on, end = 0, False, time.monotonic() + seconds
    # In any order: none that has much to read, or cannot go on, keeps the others waiting for good.
    rows = Consumer.objects.filter(caught_up_at=None).order_by("?")
    listening = listeners()
    for row in rows:
        # What another release listens to is its own to read: here nobody would hear it.
        if set(row.names) <= listening.get((row.consumer, row.producer), frozenset()):
            with apart.each():
                found, has_more = _catch_up(row, end)
                applied, goes_on = applied + found, goes_on or has_more
    return applied, goes_on


def _catch_up(row: Consumer, end: float) -> tuple[int, bool]:
    applied, before = 0, row.read_to
    may_end = _has_no_elders(row)  # asked first, so that the horizon has all of theirs
    until = past.horizon(row.producer, PATIENCE)
    if until is None:
        # Enough to go on, and not to end: an older release may have told something since.
        until, may_end = past.earlier_horizon(row.producer, row.consumer), False
    if until is None:
        # No fault, unless it is said for long: pg_stat_activity shows a session that was forgotten.
        log.warning("past_not_quiet", extra={"context": row.producer})
    while until is not None and time.monotonic() < end:
        upto = min(until, row.read_to + past.SLICE)
        page = past.events_of(row.producer, row.read_to, names=row.names, upto=upto, limit=PAGE)
        behind = _behind(row, page)
        applied += _bring(row, behind, end)
        if any(not _is_torn(row, *aggregate) for aggregate in _left(row, behind)):
            return applied, False
        _note(row, page[-1].position if len(page) == PAGE else upto)
        if len(page) < PAGE and upto == until:
            if may_end:
                _end(row)
            return applied, False
    # Also where nothing was to be applied: much of a long past is nothing to a consumer.
    return applied, row.read_to > before


def _bring(row: Consumer, behind: list[PastEvent], end: float) -> int:
    """Let events be applied while there is time, at least some of them."""
    applied, size = 0, int(conf.DELIVERY_SIZE)
    for start in range(0, len(behind), size):
        if start and time.monotonic() >= end:
            break
        ids = [str(event.envelope.event_id) for event in behind[start : start + size]]
        applied += deliver(row.producer, row.consumer, ids)
        failpoint("catchup.delivered", row.consumer)
    return applied


def _behind(row: Consumer, page: list[PastEvent]) -> list[PastEvent]:
    read = positions_of(row.consumer, [_aggregate(event) for event in page])
    return [e for e in page if read.get(_aggregate(e), 0) < e.envelope.sequence]


def _left(row: Consumer, events: list[PastEvent]) -> set[tuple[str, UUID]]:
    """Return the aggregates of which some are not applied, and that are nobody else's care.

    What stands behind a dead letter is read when the letter is resolved.
    """
    if not events:
        return set()
    letters = DeadLetter.objects.filter(context=row.consumer, resolved_at=None)
    held = set(letters.values_list("aggregate_type", "aggregate_id"))
    return {_aggregate(event) for event in _behind(row, events)} - held


def _is_torn(row: Consumer, aggregate_type: str, aggregate_id: UUID) -> bool:
    """Return whether the event of an aggregate that would be next is lost.

    Nothing but a person can mend that, so it becomes a dead letter, and the others go on. The
    letter is tried as any other, and what it holds up is read when the hole is filled.
    """
    after = position(row.consumer, aggregate_type, aggregate_id)
    news = read(row.producer, aggregate_type, aggregate_id, after)
    if not after or not news or news[0].envelope.sequence == after + 1:
        return False
    found = Attempt(lost_words(after + 1), "", counted=False, took=0.0)
    dead_letters.note(row.producer, row.consumer, news[0].envelope, found)
    return True


def _aggregate(event: PastEvent) -> tuple[str, UUID]:
    return event.envelope.aggregate_type, event.envelope.aggregate_id


def _note(row: Consumer, position: int) -> None:
    """Note how far it has come, unless it listens to more since and is to begin again."""
    with connection_of(ENGINE).cursor() as cursor:
        names = Consumer._meta.get_field("names").get_db_prep_save(row.names, connection_of(ENGINE))
        cursor.execute(_READ, [position, row.id, position, names])
    failpoint("catchup.noted", row.consumer)
    row.read_to = max(row.read_to, position)


def _has_no_elders(row: Consumer) -> bool:
    """Return whether no process of an older release can publish past this consumer any more."""
    old = Q(listens_since__lt=Now() - timedelta(seconds=conf.START_GRACE))
    return Consumer.objects.filter(old, id=row.id, listens_since=row.listens_since).exists()


def _end(row: Consumer) -> None:
    """Stop looking, unless it has begun to listen to more since, or again."""
    Consumer.objects.filter(
        id=row.id,
        names=row.names,
        read_to=row.read_to,
        caught_up_at=None,
        listens_since=row.listens_since,
    ).update(caught_up_at=Now())
