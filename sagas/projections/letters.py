"""What a rebuild leaves out: events that the context went past, or has still to come to.

What an operator has discarded is in no table of the context, and so in none that is built anew.
What stands behind an open dead letter is left to its delivery, and nobody knows yet whether that
will be applied or discarded.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sagas.outbox.discarding import half_discarded
from sagas.outbox.past import PastEvent
from sagas.outbox.republish import positions_of
from sagas.transactions import ENGINE, connection_of

_LETTERS: Final = """
SELECT l.id::text, l.event_id, l.aggregate_type, l.aggregate_id, l.resolved_at IS NULL
FROM sagas_deadletter l
WHERE l.context = %s AND (l.resolved_at IS NULL OR l.id::text = ANY(%s)
    OR EXISTS (SELECT FROM sagas_operatoraction a
        WHERE a.target_id = l.id::text AND a.action = 'discard' AND a.outcome = 'done'))
"""

Aggregate = tuple[str, UUID]


@dataclass(frozen=True, slots=True)
class Letters:
    """The dead letters of a context that keep events out of its tables."""

    discarded: frozenset[UUID]
    stuck: frozenset[Aggregate]
    """Aggregates with an open one."""


def letters_of(context: str) -> Letters:
    """Return which events of others a context has gone past, and where it is stuck."""
    half = half_discarded(context)
    with connection_of(ENGINE).cursor() as cursor:
        cursor.execute(_LETTERS, [context, list(half)])
        rows = cursor.fetchall()
    discarded = {row[1] for row in rows if not row[4] or row[0] in half}
    stuck = {(row[2], row[3]) for row in rows if row[4] and row[0] not in half}
    return Letters(frozenset(discarded), frozenset(stuck))


def aggregate_of(event: PastEvent) -> Aggregate:
    """Return what an event is about."""
    return event.envelope.aggregate_type, event.envelope.aggregate_id


class LeftOut:
    """The events that a rebuild has left out of its pages, in their order."""

    def __init__(self, context: str) -> None:
        """Begin with none."""
        self.context = context
        self.events: list[PastEvent] = []
        self.behind: set[Aggregate] = set()

    def copy(self) -> "LeftOut":
        """Return another that says the same, to go back to."""
        other = LeftOut(self.context)
        other.events, other.behind = list(self.events), set(self.behind)
        return other

    def without(self, page: list[PastEvent]) -> list[PastEvent]:
        """Return the rest of a page; whatever comes behind an event that waits waits too."""
        letters = letters_of(self.context)
        self.behind |= letters.stuck & {aggregate_of(event) for event in page}
        told = [event for event in page if event.envelope.event_id not in letters.discarded]
        self.events += [event for event in told if aggregate_of(event) in self.behind]
        return [event for event in told if aggregate_of(event) not in self.behind]

    def applied(self) -> list[PastEvent]:
        """Return those that the context has applied, or has nothing in the way of, by now.

        For whoever has locked the table: what is not applied by then is applied to the new one.
        """
        # The positions first: who discards goes on and closes the letter in that order.
        read = positions_of(self.context, list(self.behind))
        letters = letters_of(self.context)
        return [
            event
            for event in self.events
            if event.envelope.event_id not in letters.discarded
            and (
                aggregate_of(event) not in letters.stuck
                or event.envelope.sequence <= read.get(aggregate_of(event), 0)
            )
        ]
