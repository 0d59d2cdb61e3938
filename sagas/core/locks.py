"""Semantic locks: an aggregate that belongs to one saga until it ends.

Between two steps of a saga others see what is committed so far. A semantic lock, the
countermeasure of García-Molina and Salem's successors, says of an aggregate that somebody is in
the middle of something, and the definition says what whoever meets it is answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from sagas.core.definition import InvalidDefinition, hints_of

S = TypeVar("S")


class Meeting(StrEnum):
    """What a saga does that meets its aggregate in the hand of another one."""

    REFUSE = "refuse"
    """It does not start: ``start`` raises ``Locked``, which says who has it and since when."""
    WAIT = "wait"
    """It starts and sleeps, and goes on when its turn has come, the oldest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock(Generic[S]):
    """The aggregate that a saga has for itself from its start to its end."""

    on: Callable[[S], tuple[str, UUID]]
    """Names the aggregate by type and id, from the state the saga starts with."""
    meeting: Meeting = Meeting.REFUSE

    def __post_init__(self) -> None:
        """Take a word for the answer, which is compared with both of them."""
        object.__setattr__(self, "meeting", Meeting(self.meeting))


def check(saga: Any) -> None:
    """Refuse a lock that could not be taken.

    :raises InvalidDefinition: if its annotations do not fit, or the saga could not wait for it
    """
    hints = hints_of(saga.lock.on, f"{saga.name}, lock")
    if list(hints.values()) != [saga.state, tuple[str, UUID]]:
        raise InvalidDefinition(
            f"{saga.name}, lock: on takes one {saga.state.__name__} and returns tuple[str, UUID]"
        )
    first = min(number for number, step in enumerate(saga.steps) if step.kind.value != "begun")
    waits = saga.lock.meeting is Meeting.WAIT
    if waits and getattr(saga.steps[first], "group", None) is not None:
        # The branches of a group are rung one by one, before anybody has looked for the lock.
        raise InvalidDefinition(
            f"{saga.name}, lock: a saga that may wait for its lock cannot begin with a group"
        )
