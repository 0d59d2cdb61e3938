"""The verbs with which the steps of a saga are written down.

The three kinds of step and their order (compensatable, then at most one pivot, then retriable)
are those of García-Molina and Salem's sagas as refined by Richardson, *Microservices Patterns*,
chapter 4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sagas.core.commands import Command
from sagas.core.errors import SagasError
from sagas.core.retry import DEFAULT, RetryPolicy

if TYPE_CHECKING:
    from sagas.core.waits import Awaited

S = TypeVar("S")
R = TypeVar("R")


class InvalidDefinition(SagasError):
    """A saga is defined in a way that could not be carried out."""


class Kind(StrEnum):
    """What may be done about a step once it has taken effect."""

    BEGUN = "begun"
    COMPENSATABLE = "compensatable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"
    WAIT = "wait"
    SLEEP = "sleep"
    CHILD = "child"


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """One local transaction of a saga; made by the verbs below."""

    name: str
    kind: Kind
    do: Callable[[S], Command[Any]] | None
    undo: Callable[[S], Command[Any]] | None
    keep: Callable[[S, Any], S] | None
    retry: RetryPolicy
    awaits: "Awaited | None" = None
    """What it sleeps for, of a step that waits instead of doing something."""
    when: Callable[[S], bool] | None = None
    """Asked once, when the step's turn has come; it is skipped where the answer is no."""
    group: int | None = None
    """The number of the first branch of the group it belongs to; given by the saga."""
    skippable: bool = False
    """An operator may let a parked saga go on without it; not part of the fingerprint."""
    branches: tuple["Step[S]", ...] = ()
    """Of what ``parallel`` returns; the saga puts them in its place."""
    within: timedelta | None = None
    """How long a saga may stand at it, over all attempts."""


def begun(name: str, *, undo: Callable[[S], Command[None]]) -> Step[S]:
    """Return the first step of a saga that the transaction which starts it has already done."""
    return Step(name, Kind.BEGUN, None, undo, None, DEFAULT)


def compensatable(
    name: str,
    *,
    do: Callable[[S], Command[R]],
    undo: Callable[[S], Command[None]],
    keep: Callable[[S, R], S] | None = None,
    retry: RetryPolicy = DEFAULT,
    when: Callable[[S], bool] | None = None,
    skippable: bool = False,
    within: timedelta | None = None,
) -> Step[S]:
    """Return a step that can be undone; comes before the pivot.

    :param skippable: an operator may let a parked saga go on without it
    :param within: how long, in business time, all attempts may take together; then the saga
        compensates
    """
    kind = Kind.COMPENSATABLE
    return Step(name, kind, do, undo, keep, retry, when=when, skippable=skippable, within=within)


def pivot(
    name: str,
    *,
    do: Callable[[S], Command[R]],
    keep: Callable[[S, R], S] | None = None,
    retry: RetryPolicy = DEFAULT,
    when: Callable[[S], bool] | None = None,
) -> Step[S]:
    """Return the step that decides: once it has happened the saga only goes forward."""
    return Step(name, Kind.PIVOT, do, None, keep, retry, when=when)


def retriable(
    name: str,
    *,
    do: Callable[[S], Command[R]],
    keep: Callable[[S, R], S] | None = None,
    retry: RetryPolicy = DEFAULT,
    when: Callable[[S], bool] | None = None,
    skippable: bool = False,
    within: timedelta | None = None,
) -> Step[S]:
    """Return a step that must succeed in the end; comes after the pivot.

    :param skippable: an operator may let a parked saga go on without it
    :param within: how long, in business time, all attempts should take together; then operators
        see that it is late
    """
    kind = Kind.RETRIABLE
    return Step(name, kind, do, None, keep, retry, when=when, skippable=skippable, within=within)


def parallel(*branches: Step[S]) -> Step[S]:
    """Return a group of steps that run at the same time, each with a message of its own.

    All of them compensatable, or all retriable. The saga goes on when the last one is done; each
    of them sees the state from before the group, and their replies are kept in the order in which
    they stand here.

    :raises InvalidDefinition: if these steps cannot stand beside each other
    """
    names = ", ".join(step.name for step in branches)
    if len(branches) < 2:
        raise InvalidDefinition(f"parallel({names}): a group has at least two branches")
    if any(step.branches for step in branches):
        raise InvalidDefinition(f"parallel({names}): a group stands in no other group")
    if any(step.within is not None for step in branches):
        raise InvalidDefinition(
            f"parallel({names}): no branch has within=: the saga's deadline bounds a group"
        )
    [kind, *others] = {step.kind for step in branches}
    if others or kind not in {Kind.COMPENSATABLE, Kind.RETRIABLE}:
        raise InvalidDefinition(
            f"parallel({names}): branches are all compensatable, or all retriable"
        )
    return Step(f"parallel({names})", kind, None, None, None, DEFAULT, branches=branches)


def check_within(step: Step[Any], deadline: timedelta, where: str) -> None:
    """Refuse a time for a step that nobody could keep, or that would never bite.

    :raises InvalidDefinition: if it is none
    """
    if step.within is None:
        return
    if step.within <= timedelta(0):
        raise InvalidDefinition(f"{where}: within={step.within}: a step takes longer than nothing")
    if step.kind is Kind.COMPENSATABLE and step.within > deadline:
        raise InvalidDefinition(
            f"{where}: within={step.within}: the saga's deadline of {deadline} comes before"
        )
