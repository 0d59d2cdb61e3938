"""Applying events in a consumer: each once, in the order of its aggregate.

A delivery message says only "there is news of these aggregates". The consumer then reads the
producer's outbox from its own position on, so a message that was lost, doubled or overtaken
changes nothing, and a hole can only be a row that is not there.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import Final
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError

from sagas import error_texts
from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.correlation import correlated
from sagas.failpoints import failpoint
from sagas.models.dead_letter import DeadLetter
from sagas.orchestration import canvas
from sagas.outbox import attempts, dead_letters, starts
from sagas.outbox.dead_letters import Attempt, Standing
from sagas.outbox.places import Place, place_of
from sagas.outbox.positions import position
from sagas.outbox.reading import PAGE, Message, read
from sagas.outbox.relay import EVENTS, FRESH, deliver_later
from sagas.outbox.subscriptions import (
    ENVELOPE,
    Envelope,
    NotYet,
    Subscription,
    consumers_of,
    readers_of,
)
from sagas.sometimes import sometimes
from sagas.spans import span
from sagas.statements import cursor_of
from sagas.transactions import ENGINE, table, transaction

log = logging.getLogger(__name__)

FRESH_WAITS: Final = 2
"""Messages of what is fresh above which what is older gives way."""


class UnknownVersion(SagasError):
    """A reader of this context listens to the event, but in no version that upcasters lead to."""


class End(Enum):
    """What became of one event."""

    APPLIED = "applied"
    NOT_NEXT = "not next"
    """Somebody else has applied it, or is to; or an earlier one is missing."""
    BURIED = "buried"
    """It could not be handled and waits as a dead letter, or somebody else is at it."""


def deliver(producer: str, consumer: str, event_ids: list[str], *, lane: str = "") -> int:
    """Apply what is new of the aggregates that these events belong to; return how many events.

    Safe to repeat, in any order and by several workers at once. What goes wrong with one of them is
    raised after the others.

    :param lane: the queue to which the rest is sent when the slice of time is spent; else none is
    """
    return _apply_each(producer, consumer, _aggregates(producer, consumer, event_ids), lane=lane)


def _apply_each(
    producer: str, consumer: str, aggregates: list[tuple[str, UUID, str]], *, lane: str
) -> int:
    applied, trouble = 0, None
    ends = monotonic() + _slice(lane)
    for number, (aggregate_type, aggregate_id, _) in enumerate(aggregates):
        if lane and number and monotonic() > ends:
            rest = [event_id for _, _, event_id in aggregates[number:]]
            if deliver_later(producer, consumer, rest, queue=lane):
                break
            lane = ""  # the broker is away: whoever waits behind us waits for it as well
        try:
            applied += _catch_up(producer, consumer, aggregate_type, aggregate_id)
        except (OperationalError, InterfaceError, SoftTimeLimitExceeded):
            raise  # the database is gone or the time is up, for the others as well
        except Exception as error:  # noqa: BLE001 - whatever it is, the other aggregates go on
            trouble = trouble or error
    if trouble is not None:
        raise trouble
    return applied


def bring_up_to_date(
    producer: str, consumer: str, aggregates: Iterable[tuple[str, UUID, str]]
) -> int:
    """Apply what is new of these aggregates, each with an event of it, as a message would.

    When the slice of time is spent the rest is sent by the lane of what is fresh.
    """
    return _apply_each(producer, consumer, list(aggregates), lane=FRESH)


def _slice(lane: str) -> float:
    """Return for how long a delivery may go on; one aggregate has its turn in any case.

    While something fresh waits, what is older gives way: its handlers may tell more fresh events
    than they leave time for.
    """
    if lane == EVENTS and canvas.depth(FRESH) > FRESH_WAITS:
        return 0.0
    return conf.DELIVERY_SLICE


def _aggregates(producer: str, consumer: str, event_ids: list[str]) -> list[tuple[str, UUID, str]]:
    """Return each aggregate once, with one of the events that name it."""
    of = "SELECT aggregatetype, aggregateid, id::text FROM {} WHERE id = ANY(%s::uuid[])".format
    told = f"{of(table(producer, 'outbox'))} UNION {of(table(producer, 'event'))}"
    with cursor_of(producer) as cursor:
        cursor.execute(f"{told} ORDER BY 1, 2", [event_ids, event_ids])
        rows = cursor.fetchall()
    if lost := {*event_ids} - {row[2] for row in rows}:
        dead_letters.lose(consumer, lost)
    return list({row[:2]: row for row in rows}.values())


def _catch_up(producer: str, consumer: str, aggregate_type: str, aggregate_id: UUID) -> int:
    aggregate = (aggregate_type, aggregate_id)
    applied = 0
    while True:
        place = place_of(producer, consumer, *aggregate)
        if place.letters is Standing.HELD:
            # Whoever thaws late notes what others have got past, and may die before it is closed.
            if dead_letters.settle_up_to(consumer, *aggregate, place.position):
                continue
            return applied
        news = _News(producer=producer, consumer=consumer, is_due=place.letters is Standing.DUE)
        news.apply_all(*aggregate, place)
        applied += news.applied
        if not news.counted and place.letters is Standing.FREE:
            return applied
        dead_letters.settle_up_to(consumer, *aggregate, position(consumer, *aggregate))
        if not news.applied:
            return applied
        # While an attempt was counted, other deliveries of the aggregate were sent away.


@dataclass(kw_only=True, slots=True)
class _News:
    """What one consumer has still to apply of an aggregate."""

    producer: str
    consumer: str
    is_due: bool
    """A dead letter of the aggregate is to be tried again."""
    applied: int = 0
    counted: bool = False
    """An attempt was counted before it began."""

    def apply_all(self, aggregate_type: str, aggregate_id: UUID, place: Place) -> None:
        before, after, border = -1, place.position, place.border
        # As long as anybody gets on there may be more to do: another delivery at work on the
        # aggregate has perhaps read before our event was there.
        while after > before:
            # The engine would do again what was done before it was asked to: open a flow for it.
            news_only = self.consumer == ENGINE and not after
            messages = read(
                self.producer, aggregate_type, aggregate_id, after, border, news_only=news_only
            )
            for message in messages:
                end = self._attempt(message)
                if end is End.BURIED:
                    return
                if end is End.NOT_NEXT:
                    break
                self.applied += 1
            else:
                if len(messages) < PAGE:
                    return
            before, after = after, position(self.consumer, aggregate_type, aggregate_id)
            border = 0  # whoever is past the first event has it behind it

    def _attempt(self, message: Message) -> End:
        counts = self.is_due or message.is_late
        if counts:
            self.counted = True
            if not attempts.begin(self.producer, self.consumer, message.envelope):
                return End.BURIED
        end = _apply_or_bury(self.producer, self.consumer, message, counted=counts)
        if counts and end is End.NOT_NEXT:
            attempts.take_back(self.consumer, message.envelope)
        return end


def _apply_or_bury(producer: str, consumer: str, message: Message, *, counted: bool) -> End:
    began = monotonic()
    with correlated(message.envelope.correlation):
        try:
            # A child of what has told the event; the message that brings it, again perhaps, is
            # linked.
            with span(
                f"{consumer} hears {message.envelope.name}",
                "consumer",
                event=str(message.envelope.event_id),
                again=message.is_late or counted,
            ):
                applied = apply(consumer, message)
        except NotYet:
            return End.NOT_NEXT
        except Exception as fault:  # whatever a handler raises keeps the event for a person
            text, trace = error_texts.text_of(fault), error_texts.trace_of(fault)
            log.warning("handler_fault", extra={"event": message.envelope.name, "error": text})
            attempt = Attempt(text, trace, counted=counted, took=monotonic() - began)
            dead_letters.bury(producer, consumer, message.envelope, attempt)
            if isinstance(fault, SoftTimeLimitExceeded):
                raise  # the task has no time left for anybody
            return End.BURIED
        failpoint("deliver.committed", consumer)
    return End.APPLIED if applied else End.NOT_NEXT


def apply(consumer: str, message: Message) -> bool:
    """Run a consumer's handlers of one event, with position and inbox row, in one transaction.

    Returns False, with nothing written, when the event is a duplicate or not the next one.
    """
    envelope = message.envelope
    with transaction(consumer):
        if not _take_position(consumer, envelope):
            sometimes("event.duplicate")
            return False
        for subscription in _handlers(consumer, envelope):
            token = ENVELOPE.set(envelope)
            try:
                subscription.handler(subscription.read(envelope.version, message.payload))
            finally:
                ENVELOPE.reset(token)
        _write_inbox(consumer, envelope.event_id, envelope.name)
        failpoint("deliver.before_commit", consumer)
    return True


def pass_over(letter: DeadLetter) -> bool:
    """Count an event as seen by its consumer without handling it; part of a transaction.

    False when the consumer is past it already.
    """
    passed = _take_position(letter.context, letter)
    if passed:
        _write_inbox(letter.context, letter.event_id, letter.event_name)
    return passed


def _handlers(consumer: str, envelope: Envelope) -> list[Subscription]:
    found = readers_of(envelope.name, envelope.version, consumer)
    if not found and consumer in consumers_of(envelope.name):
        # Moving on would lose it: the release that can read this version is still to come.
        raise UnknownVersion(f"{envelope.name} version {envelope.version}")
    if not found and starts.is_of_another_release(consumer, envelope.name):
        raise NotYet(envelope.name)
    return found


def _take_position(consumer: str, envelope: Envelope | DeadLetter) -> bool:
    """Move the position by one; the row lock makes a second copy wait, then refuses it."""
    name = table(consumer, "position")
    with cursor_of(consumer) as cursor:
        # The first event that the outbox still has of an aggregate opens its position.
        cursor.execute(
            f"INSERT INTO {name} AS p (aggregatetype, aggregateid, sequence)"  # noqa: S608
            " VALUES (%s, %s, %s) ON CONFLICT (aggregatetype, aggregateid) DO UPDATE"
            " SET sequence = excluded.sequence WHERE p.sequence = excluded.sequence - 1",
            [envelope.aggregate_type, envelope.aggregate_id, envelope.sequence],
        )
        return bool(cursor.rowcount == 1)


def _write_inbox(consumer: str, event_id: UUID, name: str) -> None:
    with cursor_of(consumer) as cursor:
        cursor.execute(
            f"INSERT INTO {table(consumer, 'inbox')} (consumer, event_id, type)"  # noqa: S608
            " VALUES (%s, %s, %s)",
            [consumer, event_id, name],
        )
