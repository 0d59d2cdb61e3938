"""What a person saw of a dead letter before deciding: after which attempt it waits, and why.

One that is tried by itself fails again while somebody reads, which changes nothing as long as it
fails for the same cause. One that waits for a person fails again only when another has sent it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from django.db.models import QuerySet

from sagas.causes import cause_of
from sagas.core.errors import SagasError
from sagas.models.dead_letter import DeadLetter

TRIED: Final = "tried"
"""In place of an instant: of a letter that is tried again by itself, or is over."""


class UnreadableMark(SagasError):
    """A text does not say what somebody saw of a dead letter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """How a dead letter stood when somebody looked."""

    cause: str
    waits_since: datetime | None = None
    """When the attempt ended after which it waits for a person; None while it does not."""

    def __str__(self) -> str:
        """Return it as a form carries it."""
        since = self.waits_since.isoformat() if self.waits_since else TRIED
        return f"{since} {quote(self.cause)}"  # a form would turn a carriage return into two signs

    def still(self, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
        """Return those of the letters that stand as they were seen."""
        alike: QuerySet[DeadLetter] = with_cause(letters).filter(cause=self.cause)
        if self.waits_since is None:
            return alike
        return alike.filter(next_at=None, last_at=self.waits_since)


def with_cause(letters: QuerySet[DeadLetter]) -> Any:
    """Return the letters, each with its cause."""
    return letters.annotate(cause=cause_of("reason"))


def look(letter: Any) -> Seen:
    """Return how a letter stands that was read with its cause."""
    waits = letter.resolved_at is None and letter.next_at is None
    return Seen(cause=letter.cause, waits_since=letter.last_at if waits else None)


def read(text: str) -> Seen:
    """Return what a form carries.

    :raises UnreadableMark: if it is nothing of that kind
    """
    since, space, cause = text.partition(" ")
    try:
        instant = None if since == TRIED else datetime.fromisoformat(since)
    except ValueError as wrong:
        raise UnreadableMark(text) from wrong
    if not space:
        raise UnreadableMark(text)
    return Seen(cause=unquote(cause), waits_since=instant)
