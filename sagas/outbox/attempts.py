"""Counting an attempt at an event before its handlers run, since they may end their process.

Only what comes again is counted so: an event that was not applied in time, or has a dead letter.
Whoever counts has the event for one lease; the count is a dead letter that waits meanwhile.
"""

from django.db.models import F, Q

from sagas.conf import conf
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.models.dead_letter import DeadLetter
from sagas.outbox.positions import lost_words, missing_before
from sagas.outbox.subscriptions import Envelope
from sagas.transactions import ENGINE, connection_of

_BEGIN = """
INSERT INTO sagas_deadletter AS l (id, context, producer, event_id, event_name, aggregate_type,
    aggregate_id, sequence, attempts, reason, traceback, next_at)
VALUES (%(id)s, %(consumer)s, %(producer)s, %(event_id)s, %(name)s, %(type)s, %(aggregate)s,
    %(sequence)s, 1, '', '', clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (context, event_id) DO UPDATE SET
    attempts = CASE WHEN l.resolved_at IS NOT NULL THEN 1
        ELSE least(l.attempts + 1, greatest(l.attempts, %(most)s)) END,
    next_at = CASE WHEN l.resolved_at IS NOT NULL OR l.attempts < %(most)s
        THEN excluded.next_at END,
    reason = CASE WHEN l.resolved_at IS NULL AND l.attempts >= %(most)s
        THEN l.attempts || ' attempts, the last ended without a trace: its worker died or froze'
        WHEN l.reason = '' THEN 'an attempt ended without a trace: its worker died or froze'
        ELSE l.reason END,
    last_at = clock_timestamp(), resolved_at = NULL
WHERE l.resolved_at IS NOT NULL OR l.next_at <= clock_timestamp()
RETURNING next_at IS NOT NULL
"""


def begin(producer: str, consumer: str, envelope: Envelope) -> bool:
    """Count an attempt that is about to begin.

    False when somebody else is at it, or when it was the last one that ended without a trace: then
    the event waits for an operator.
    """
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(
            _BEGIN,
            {
                "id": uuid7(),
                "consumer": consumer,
                "producer": producer,
                "event_id": envelope.event_id,
                "name": envelope.name,
                "type": envelope.aggregate_type,
                "aggregate": envelope.aggregate_id,
                "sequence": envelope.sequence,
                "lease": conf.LEASE,
                "most": int(conf.HANDLER_ATTEMPTS),
            },
        )
        row = cursor.fetchone()
    failpoint("letter.committed", consumer)
    return row is not None and bool(row[0])


def take_back(consumer: str, envelope: Envelope) -> None:
    """Undo the count of an attempt that was none: the event was not the next one.

    Behind a hole it counts and the letter stays, since a person is to hear of it in the end. Either
    way what has failed before comes again after the lease.
    """
    counted = Q(context=consumer, event_id=envelope.event_id, resolved_at=None, attempts__gt=0)
    aggregate = (envelope.aggregate_type, envelope.aggregate_id)
    missing = missing_before(consumer, *aggregate, envelope.sequence)
    if missing is not None:
        most = int(conf.HANDLER_ATTEMPTS)
        DeadLetter.objects.filter(counted).update(reason=lost_words(missing))
        DeadLetter.objects.filter(counted, attempts__gte=most).update(next_at=None)
    elif not DeadLetter.objects.filter(counted, attempts=1, reason="").delete()[0]:
        DeadLetter.objects.filter(counted).update(attempts=F("attempts") - 1)
