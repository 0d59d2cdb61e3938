"""What a person saw of a flow before deciding: its state, and since when it waits for somebody.

A look that finds nothing to do changes neither. Whoever has resumed a parked one changes since when
it waits, also where it has been parked again, perhaps for another reason.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q

from sagas.core.errors import SagasError
from sagas.core.states import FlowState
from sagas.models import WatchedFlow

GOES_ON: Final = "goes-on"
"""In place of an instant: of a flow that waits for nobody."""


class UnreadableMark(SagasError):
    """A text does not say what somebody saw of a flow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """How a flow stood when somebody looked."""

    state: str
    parked_at: datetime | None

    def __str__(self) -> str:
        """Return it as a form or a terminal carries it."""
        return f"{self.state}:{self.parked_at.isoformat() if self.parked_at else GOES_ON}"


def look(flow: WatchedFlow) -> Seen:
    """Return how a flow stands."""
    return Seen(state=flow.state, parked_at=flow.parked_at)


def as_seen(seen: Seen | None) -> Q:
    """Return the condition for flows that stand so, or in any way where nobody says how."""
    return Q() if seen is None else Q(state=seen.state, parked_at=seen.parked_at)


def read(text: str) -> Seen:
    """Return what a form or a terminal carries.

    :raises UnreadableMark: if it is nothing of that kind
    """
    state, _, since = text.partition(":")
    try:
        parked_at = None if since == GOES_ON else datetime.fromisoformat(since)
        if parked_at is not None and parked_at.utcoffset() is None:
            raise ValueError(since)  # an instant of nobody's clock
        return Seen(state=FlowState(state).value, parked_at=parked_at)
    except ValueError as wrong:
        said = f"{text!r:.80} does not say what was seen, like running:{GOES_ON}"
        raise UnreadableMark(said) from wrong
