"""Events that the exchange for others does not take: dead letters of the outside.

Counted and tried again as at a consumer of ours. Later events of the aggregate wait behind one.
"""

from collections import defaultdict
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from sagas import error_texts
from sagas.contexts import contexts
from sagas.models.dead_letter import DeadLetter
from sagas.outbox import dead_letters
from sagas.outbox.apart import Apart
from sagas.outbox.cloudevents import Told
from sagas.outbox.dead_letters import Attempt
from sagas.outbox.exchange import OUTSIDE, Refused, exchange
from sagas.outbox.subscriptions import Envelope
from sagas.transactions import connection_of, table

_STILL_DUE = "SELECT id FROM {outbox} WHERE id = ANY(%s) AND outside_due"
_LEAVE_OUT = "UPDATE {outbox} SET outside_due = false WHERE id = %s AND outside_due"


def held(producer: str) -> tuple[list[str], list[UUID]]:
    """Return the types and the ids of the aggregates of which nothing may be sent now."""
    letters = DeadLetter.objects.filter(
        Q(next_at=None) | Q(next_at__gt=Now()),
        context=OUTSIDE,
        producer=producer,
        resolved_at=None,
    )
    rows = letters.values_list("aggregate_type", "aggregate_id")
    return [type_ for type_, _ in rows], [id_ for _, id_ in rows]


def note(producer: str, told: Told, refusal: Refused, took: float) -> None:
    """Count that an event was not taken, and say when it is tried again."""
    envelope = Envelope(
        event_id=told.event_id,
        name=told.name,
        version=told.version,
        aggregate_type=told.aggregate_type,
        aggregate_id=told.aggregate_id,
        sequence=told.sequence,
        occurred_at=told.occurred_at,
        correlation_id=told.correlation_id,
        causation_id=told.causation_id,
        traceparent=told.traceparent,
        recorded_at=told.recorded_at,
        actor=None,  # who did it is told to nobody outside
        position=told.position,
    )
    reason = f"the exchange {exchange().name} did not take it: {refusal}"
    attempt = Attempt(reason, error_texts.trace_of(refusal), counted=False, took=took)
    dead_letters.note(producer, OUTSIDE, envelope, attempt)


def settle_sent() -> None:
    """Close the letters of events that have got outside after all, or that it goes without.

    Also of those that wait for a person: a sender that froze may note what it was told when others
    have sent the event, or somebody has discarded it.
    """
    tried: dict[str, set[UUID]] = defaultdict(set)
    there = DeadLetter.objects.filter(context=OUTSIDE, resolved_at=None)
    for producer, event_id in there.values_list("producer", "event_id"):
        tried[producer].add(event_id)
    with Apart() as apart:
        for producer in filter(tried.get, contexts()):
            with apart.each():
                dead_letters.settle(OUTSIDE, _got_past(producer, tried[producer]))


def _got_past(producer: str, event_ids: set[UUID]) -> list[UUID]:
    with connection_of(producer).cursor() as cursor:
        statement = _STILL_DUE.format(outbox=table(producer, "outbox"))
        cursor.execute(statement, [list(event_ids)])
        return list(event_ids - {event_id for (event_id,) in cursor.fetchall()})


def pass_by(letter: DeadLetter) -> bool:
    """Let the outside go without an event; part of a transaction of its producer.

    False when it has got outside already.
    """
    with connection_of(letter.producer).cursor() as cursor:
        statement = _LEAVE_OUT.format(outbox=table(letter.producer, "outbox"))
        cursor.execute(statement, [letter.event_id])
        return bool(cursor.rowcount == 1)
