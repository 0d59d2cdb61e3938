"""How far a flow has come: read from what its contexts have told and heard, whoever wrote when."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sagas.choreography import told
from sagas.core.choreography import Choreography, Hop
from sagas.core.commands import context_of
from sagas.models import DeadLetter, OperatorAction, WatchedFlow
from sagas.transactions import connection_of, table

_APPLIED = "SELECT applied_at FROM {} WHERE consumer = %s AND event_id = %s"


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
    is_long_past: bool = False
    """The context has applied it, and when is not kept any more."""
    told_id: UUID | None = None
    letter: DeadLetter | None = None
    is_discarded: bool = False
    """An operator let the context go on without the event."""

    @property
    def producer(self) -> str:
        """Return the context in whose outbox the event stands."""
        return context_of(self.heard)

    @property
    def is_applied(self) -> bool:
        """Return whether the context has the event behind it."""
        return self.applied_at is not None or self.is_long_past

    @property
    def is_through(self) -> bool:
        """Return whether the context has done its part and told the next."""
        done = self.is_applied and not self.is_discarded
        return done and (not self.hop.tells or self.told_id is not None)

    @property
    def can_be_redriven(self) -> bool:
        """Return whether delivering its event again could help."""
        return self.event_id is not None and not self.is_applied

    def why(self) -> str:
        """Return what is missing, as a sentence without its full stop."""
        who, event = self.hop.context, self.heard
        if self.is_discarded:
            return f"{who} went past {event}, which an operator discarded"
        if self.is_applied:
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
            here = replace(here, **_read(flow, here, event_id))
        found.append(here)
        event_id = here.told_id if here.is_through else None
        since = here.applied_at if here.is_through else None
    return found


def missing(looks: list[Look]) -> Look | None:
    """Return the first hop that is not through, or None where the flow is complete."""
    return next((one for one in looks if not one.is_through), None)


def _read(flow: WatchedFlow, here: Look, event_id: UUID) -> dict[str, Any]:
    hop = here.hop
    applied_at = _applied_at(hop.context, event_id)
    is_long_past = applied_at is None and told.is_long_past(hop.context, here.producer, event_id)
    told_id = None
    if hop.tells and (applied_at is not None or is_long_past):
        told_id = told.told_of(flow, hop.tells, event_id)
    letter = DeadLetter.objects.filter(context=hop.context, event_id=event_id).first()
    waits = letter is not None and letter.resolved_at is None and letter.reason != ""
    return {
        "applied_at": applied_at,
        "is_long_past": is_long_past,
        "told_id": told_id,
        "letter": letter if waits else None,
        "is_discarded": letter is not None and _is_discarded(letter),
    }


def _applied_at(context: str, event_id: UUID) -> datetime | None:
    with connection_of(context).cursor() as cursor:
        cursor.execute(_APPLIED.format(table(context, "inbox")), [context, event_id])
        row = cursor.fetchone()
    return row[0] if row else None


def _is_discarded(letter: DeadLetter) -> bool:
    done = OperatorAction.objects.filter(action="discard", outcome="done")
    return letter.resolved_at is not None and done.filter(target_id=str(letter.id)).exists()
