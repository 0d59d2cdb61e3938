"""Events that a consumer could not handle: tried again with a delay, then kept for an operator.

The later events of the same aggregate wait behind it; every other aggregate goes on.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from sagas.conf import conf
from sagas.core.retry import DEFAULT
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.models.dead_letter import DeadLetter
from sagas.models.operator_action import OperatorAction
from sagas.outbox import exchange
from sagas.outbox.exchange import OUTSIDE
from sagas.outbox.letter_marks import Seen, look, with_cause
from sagas.outbox.positions import position
from sagas.outbox.relay import deliver_later, may_ring_again
from sagas.outbox.subscriptions import Envelope
from sagas.reasons import refuse_untold
from sagas.transactions import ENGINE, after_commit, connection_of, transaction

log = logging.getLogger(__name__)


class Standing(Enum):
    """What is known of an aggregate's dead letters in a context."""

    FREE = "free"
    DUE = "due"
    """One is to be tried again now."""
    HELD = "held"
    """One waits for its delay or for an operator; later events wait behind it."""

    @classmethod
    def of(cls, *, held: int, all_of_them: int) -> "Standing":
        """Say it of the number that may not be tried now, and of the number of all."""
        if held:
            return cls.HELD
        return cls.DUE if all_of_them else cls.FREE


def standing(consumer: str, aggregate_type: str, aggregate_id: UUID) -> Standing:
    """Return whether the events of an aggregate may be applied now."""
    held = DeadLetter.objects.filter(
        context=consumer,
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        resolved_at=None,
    ).aggregate(all=Count("id"), held=Count("id", Q(next_at=None) | Q(next_at__gt=Now())))
    return Standing.of(held=held["held"], all_of_them=held["all"])


# An attempt that began before the last one was noted was beside it, not after it: deliveries that
# wait for the same frozen session are cut off together, and are one attempt. Nor does it take the
# event from the next one, which may have begun by now and has it for a lease.
_NOTE = """
INSERT INTO sagas_deadletter AS l (id, context, producer, event_id, event_name, aggregate_type,
    aggregate_id, sequence, attempts, reason, traceback, next_at)
VALUES (%(id)s, %(consumer)s, %(producer)s, %(event_id)s, %(name)s, %(type)s, %(aggregate)s,
    %(sequence)s, 1, %(reason)s, %(trace)s, CASE WHEN %(most)s > 1
        THEN clock_timestamp() + make_interval(secs => (%(delays)s::float8[])[1]) END)
ON CONFLICT (context, event_id) DO UPDATE SET (attempts, next_at) = (
        SELECT n, CASE WHEN n < %(most)s THEN greatest(
            CASE WHEN beside THEN l.next_at END,
            clock_timestamp() + make_interval(secs => (%(delays)s::float8[])[greatest(n, 1)])) END
        FROM (SELECT NOT %(counted)s AND l.resolved_at IS NULL
            AND l.last_at > clock_timestamp() - make_interval(secs => %(took)s)) AS began (beside),
            LATERAL (SELECT CASE WHEN %(counted)s OR beside THEN l.attempts
                ELSE l.attempts + 1 END) AS counted (n)),
    reason = excluded.reason, traceback = excluded.traceback, last_at = clock_timestamp(),
    resolved_at = NULL
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at an event that went wrong."""

    reason: str
    trace: str
    counted: bool = field(kw_only=True)
    """Whether it was counted when it began."""
    took: float = field(kw_only=True)
    """Seconds since it began."""


def note(producer: str, consumer: str, envelope: Envelope, attempt: Attempt) -> None:
    """Count an attempt that went wrong, and say when the next is due or that a person must act."""
    most = int(conf.HANDLER_ATTEMPTS)
    told: dict[str, Any] = {
        "id": uuid7(),
        "consumer": consumer,
        "producer": producer,
        "event_id": envelope.event_id,
        "name": envelope.name,
        "type": envelope.aggregate_type,
        "aggregate": envelope.aggregate_id,
        "sequence": envelope.sequence,
        "reason": attempt.reason,
        "trace": attempt.trace,
        "most": most,
        "counted": attempt.counted,
        "took": attempt.took,
        "delays": [
            DEFAULT.delay(number, base=conf.DELAY_BASE, cap=conf.DELAY_CAP)
            for number in range(1, most + 1)
        ],
    }
    with transaction(ENGINE):
        with connection_of(ENGINE).cursor() as cursor:
            cursor.execute(_NOTE, told)
        failpoint("letter.before_commit", consumer)
    failpoint("letter.committed", consumer)


def bury(producer: str, consumer: str, envelope: Envelope, attempt: Attempt) -> None:
    """Note an attempt of a consumer that went wrong, unless the consumer is past the event."""
    note(producer, consumer, envelope, attempt)
    # An attempt that froze may end when others have applied the event, or a person has discarded
    # it: nothing waits behind it any more. Asked after the letter is written, since whoever goes
    # past the event from now on finds it.
    aggregate = (envelope.aggregate_type, envelope.aggregate_id)
    settle_up_to(consumer, *aggregate, position(consumer, *aggregate))


def settle_up_to(consumer: str, aggregate_type: str, aggregate_id: UUID, sequence: int) -> int:
    """Close the dead letters of an aggregate that its consumer has got past; return how many."""
    return _close(
        DeadLetter.objects.filter(
            context=consumer,
            aggregate_type=aggregate_type,
            aggregate_id=aggregate_id,
            sequence__lte=sequence,
            resolved_at=None,
        )
    )


def settle(consumer: str, event_ids: list[UUID]) -> None:
    """Close the dead letters of events that have been applied after all."""
    _close(DeadLetter.objects.filter(context=consumer, event_id__in=event_ids, resolved_at=None))


def _close(letters: QuerySet[DeadLetter]) -> int:
    # Without a reason it was a first attempt that went well.
    deleted, _ = letters.filter(reason="").delete()
    return deleted + letters.update(resolved_at=Now())


def retry_due() -> int:
    """Deliver again what waits only for its delay; return how many."""
    # What the outside refused is read by its own tick. A delivery turns away where another letter
    # of the aggregate waits: rung for all the same, such letters would be the oldest for ever.
    open_ones = DeadLetter.objects.filter(resolved_at=None)
    beside = {name: OuterRef(name) for name in ("context", "aggregate_type", "aggregate_id")}
    held = open_ones.filter(Q(next_at=None) | Q(next_at__gt=Now()), **beside)
    waiting = open_ones.filter(~Exists(held), next_at__lte=Now())
    due = list(waiting.exclude(context=OUTSIDE).order_by("next_at")[:100])
    if not due or not may_ring_again(len(due)):
        return 0
    for letter in due:
        deliver_again(letter)
    return len(due)


def deliver_again(letter: DeadLetter) -> None:
    """Ring for the event of a dead letter, and for what waits behind it."""
    if letter.context == OUTSIDE:
        exchange.ring()
        return
    deliver_later(letter.producer, letter.context, [str(letter.event_id)])


def lose(consumer: str, event_ids: Collection[str]) -> None:
    """Leave to a person what was rung for and is not there: it would be rung for for good."""
    due = DeadLetter.objects.filter(resolved_at=None, next_at__lte=Now())
    due.filter(context=consumer, event_id__in=event_ids).update(
        reason="the event is neither in the outbox nor in the history",
        attempts=F("attempts") + 1,
        last_at=Now(),
        next_at=None,
    )


def alike(cause: str) -> dict[UUID, Seen]:
    """Return the open letters with a cause, the oldest first, each with how it stands.

    An act on one is refused when somebody was faster.
    """
    open_ones = with_cause(DeadLetter.objects.filter(resolved_at=None)).defer("traceback")
    return {letter.id: look(letter) for letter in open_ones.filter(cause=cause).order_by("id")}


def resend(letter_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """Try an event again at once, for an operator; False when it is resolved already.

    Safe when two press at once: the second finds no attempt that went wrong since, and gets False.

    :param seen: how it stood when the operator looked; False where it stands otherwise
    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if a text has a zero byte, or half of a surrogate pair
    """
    refuse_untold(by=by, reason=reason)
    with transaction("sagas"):
        failed = DeadLetter.objects.filter(id=letter_id, resolved_at=None, attempts__gt=0)
        as_seen = failed if seen is None else seen.still(failed)
        changed = as_seen.update(next_at=Now(), attempts=0)
        OperatorAction.objects.create(
            action="resend",
            target_type="dead letter",
            target_id=str(letter_id),
            by=by,
            reason=reason,
            outcome="done" if changed else "refused",
        )
        if changed:
            letter = DeadLetter.objects.get(id=letter_id)
            after_commit(lambda: _resent(letter))
        failpoint("act.before_commit", "resend")
    return bool(changed)


def _resent(letter: DeadLetter) -> None:
    failpoint("act.committed", "resend")
    deliver_again(letter)
