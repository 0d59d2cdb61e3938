"""How far a flow has come: read from inbox, outbox and dead letters, whoever wrote them when."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sagas.core.choreography import Choreography, Hop
from sagas.core.commands import context_of
from sagas.models import DeadLetter, OperatorAction, WatchedFlow
from sagas.transactions import connection_of, table

_APPLIED = "SELECT applied_at FROM {inbox} WHERE consumer = %s AND event_id = %s"
# By what caused it, and not by time: a context may tell the same of several flows at once.
_TOLD = """
SELECT id FROM {outbox} WHERE correlation_id = %s AND type = %s AND causation_id = %s
ORDER BY position LIMIT 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What is known of one hop."""

    number: int
    hop: Hop
    heard: str
    """The event that it waits for."""
    event_id: UUID | None
    """None where nobody has told that event yet."""
    since: datetime | None = None
    """Since when the context could have handled it."""
    applied_at: datetime | None = None
    told_id: UUID | None = None
    letter: DeadLetter | None = None
    is_discarded: bool = False
    """An operator let the context go on without the event."""

    @property
    def producer(self) -> str:
        """Return the context in whose outbox the event stands."""
        return context_of(self.heard)

    @property
    def is_through(self) -> bool:
        """Return whether the context has done its part and told the next."""
        done = self.applied_at is not None and not self.is_discarded
        return done and (not self.hop.tells or self.told_id is not None)

    @property
    def can_be_redriven(self) -> bool:
        """Return whether delivering its event again could help."""
        return self.event_id is not None and self.applied_at is None

    def why(self) -> str:
        """Return what is missing, as a sentence without its full stop."""
        who, event = self.hop.context, self.heard
        if self.is_discarded:
            return f"{who} went past {event}, which an operator discarded"
        if self.applied_at is not None:
            return f"{who} has handled {event} and told no {self.hop.tells}"
        if self.letter is not None:
            failed = f"failed {self.letter.attempts} times with: {self.letter.reason}"
            return f"{who} has not handled {event}: its handler {failed}"
        return f"{who} has not handled {event}"


def look(flow: WatchedFlow, declared: Choreography) -> list[Look]:
    """Return what is known of every hop; after the first that is not through nothing is."""
    found: list[Look] = []
    event_id: UUID | None = flow.event_id
    since: datetime | None = flow.opened_at
    for number, (hop, heard) in enumerate(zip(declared.hops, declared.heard, strict=True)):
        here = Look(number=number, hop=hop, heard=heard, event_id=event_id, since=since)
        if event_id is not None:
            here = replace(here, **_read(flow, hop, event_id))
        found.append(here)
        event_id = here.told_id if here.is_through else None
        since = here.applied_at if here.is_through else None
    return found


def missing(looks: list[Look]) -> Look | None:
    """Return the first hop that is not through, or None where the flow is complete."""
    return next((one for one in looks if not one.is_through), None)


def _read(flow: WatchedFlow, hop: Hop, event_id: UUID) -> dict[str, Any]:
    applied_at = _one(hop.context, _APPLIED, hop.context, event_id)
    told_id = None
    if applied_at is not None and hop.tells:
        told_id = _one(hop.context, _TOLD, flow.correlation_id, hop.tells, str(event_id))
    letter = DeadLetter.objects.filter(context=hop.context, event_id=event_id).first()
    waits = letter is not None and letter.resolved_at is None and letter.reason != ""
    return {
        "applied_at": applied_at,
        "told_id": told_id,
        "letter": letter if waits else None,
        "is_discarded": letter is not None and _is_discarded(letter),
    }


def _one(context: str, statement: str, *parameters: Any) -> Any:
    names = {"inbox": table(context, "inbox"), "outbox": table(context, "outbox")}
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement.format(**names), parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _is_discarded(letter: DeadLetter) -> bool:
    done = OperatorAction.objects.filter(action="discard", outcome="done")
    return letter.resolved_at is not None and done.filter(target_id=str(letter.id)).exists()
