"""What a person saw of a parked saga before deciding: which way, at which step, under which token.

A skip says another thing forward than on the way back, so it is carried out only on what was seen.
The text ``forward:take:17`` stands in the admin's form and in ``sagas show``; without its last part
it stands for all sagas that ``sagas list --by-cause`` counts together.
"""

import re
from dataclasses import dataclass
from typing import Final

from sagas.core.errors import SagasError
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration import versions

WAYS: Final = {"forward": "going forward", "back": "on its way back"}
_TEXT: Final = re.compile(r"(forward|back):([^:]+)(?::([0-9]{1,19}))?", re.DOTALL)


class UnreadableMark(SagasError):
    """A text does not say what somebody saw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Where a saga stood when somebody looked."""

    way: str
    step: str
    token: int | None = None
    """Its fencing token; None where only the place counts."""

    def __str__(self) -> str:
        """Return it as a form or a terminal carries it."""
        place = f"{self.way}:{self.step}"
        return place if self.token is None else f"{place}:{self.token}"

    @property
    def words(self) -> str:
        """Return where that is."""
        return f"at step {self.step}, {WAYS[self.way]}"


def way_of(status: str) -> str:
    """Return which way a saga goes."""
    return "forward" if status == Status.RUNNING else "back"


def look(row: SagaInstance) -> Seen:
    """Return how a saga stands now."""
    saga = versions.found(row)
    known = saga is not None and 0 <= row.cursor <= saga.last
    step = saga.steps[row.cursor].name if saga is not None and known else str(row.cursor + 1)
    return Seen(way=way_of(row.status), step=step, token=row.fencing_token)


def read(text: str) -> Seen:
    """Return what a form or a terminal carries.

    :raises UnreadableMark: if it is nothing of that kind
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise UnreadableMark(f"{text!r:.80} does not say what was seen, like forward:take:17")
    way, step, token = found.groups()
    return Seen(way=way, step=step, token=int(token) if token else None)


def changed(seen: Seen, row: SagaInstance) -> str | None:
    """Return what is no longer as somebody saw it; None where all of it is."""
    now = look(row)
    if (seen.way, seen.step) != (now.way, now.step):
        return f"you saw it {seen.words}; now it is {now.words}: look again, then decide"
    if seen.token in (None, now.token):
        return None
    return f"it has gone on since you looked and is again {now.words}: look again, then decide"
