"""Saga definitions: a table of typed steps, refused at import when it is wrong."""

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sagas.core.callables import uncallable
from sagas.core.commands import Command, context_of, reply_type, type_name
from sagas.core.fingerprint import fingerprint_of
from sagas.core.readable import changeable, is_frozen, unreadable
from sagas.core.retry import RetryPolicy
from sagas.core.step import (
    InvalidDefinition,
    Kind,
    Step,
    begun,
    check_within,
    compensatable,
    parallel,
    pivot,
    retriable,
)

__all__ = [
    "InvalidDefinition",
    "Kind",
    "Saga",
    "Step",
    "begun",
    "check_callable",
    "check_readable",
    "command_of",
    "command_type",
    "compensatable",
    "hints_of",
    "parallel",
    "pivot",
    "retriable",
]

if TYPE_CHECKING:
    from sagas.core.locks import Lock

S = TypeVar("S")


@dataclass(frozen=True, kw_only=True, slots=True)
class Saga(Generic[S]):
    """A business transaction over several contexts.

    :raises InvalidDefinition: if names repeat, the order of kinds is wrong, or a builder's
        annotations do not fit the state and the commands
    """

    name: str
    """Stable name, ``context.what``; instances in flight refer to it."""
    version: int
    """Raised with every change of the steps; an instance ends on the version it began with."""
    state: type[S]
    """A frozen dataclass: what the saga remembers."""
    deadline: timedelta
    """Counts until the point of no return; past it the saga compensates."""
    steps: tuple[Step[S], ...]
    """In the order in which they run; afterwards flat, a group's branches one after the other."""
    lock: "Lock[S] | None" = None
    """The aggregate that an instance has for itself until it ends."""
    share: int = 100
    """Percent of the starts that run this version where there is one before it, until an operator
    says otherwise."""
    contexts: tuple[str, ...] = field(init=False, default=())
    """The context that carries out each step."""
    fingerprint: str = field(init=False, default="", repr=False)
    """What an instance keeps, so that it never runs on another definition of this version."""

    def __post_init__(self) -> None:
        """Refuse what could not be carried out."""
        object.__setattr__(self, "steps", _flat(self.steps))
        _check_shape(self)
        contexts = tuple(_check_builders(self, step) for step in self.steps)
        if self.lock is not None:
            from sagas.core.locks import check

            check(self)
        object.__setattr__(self, "contexts", contexts)
        object.__setattr__(self, "fingerprint", fingerprint_of(self))

    @property
    def context(self) -> str:
        """Return the context that owns the saga."""
        return context_of(self.name)

    @property
    def last(self) -> int:
        """Return the number of the last step."""
        return len(self.steps) - 1

    def branches(self, number: int) -> range:
        """Return the numbers of the branches of the group that begins here; empty if none does."""
        if not (0 <= number <= self.last and self.steps[number].group == number):
            return range(0)
        end = number
        while end <= self.last and self.steps[end].group == number:
            end += 1
        return range(number, end)

    def ends_chain(self, number: int) -> bool:
        """Return whether no link carries on here: past the last step, or before a group."""
        return number > self.last or self.steps[number].group == number

    @property
    def first_retriable(self) -> int:
        """Return the number of the first step after which there is no way back."""
        for number, step in enumerate(self.steps):
            if step.kind is Kind.RETRIABLE:
                return number
            if step.kind is Kind.PIVOT:
                return number + 1
        return len(self.steps)


def _flat(steps: tuple[Step[S], ...]) -> tuple[Step[S], ...]:
    """Put the branches of each group in its place, and let each know where its group begins."""
    flat: list[Step[S]] = []
    for step in steps:
        first = len(flat)
        flat += [replace(branch, group=first) for branch in step.branches] or [step]
    return tuple(flat)


# The context becomes a part of tables' names, and all of it stands in log lines and addresses.
_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[A-Za-z0-9_-]+)+")
_STEP_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Waits stand anywhere.
_RANK = {Kind.BEGUN: 0, Kind.COMPENSATABLE: 1, Kind.PIVOT: 2, Kind.RETRIABLE: 3}


def _check_shape(saga: Saga[Any]) -> None:
    if not is_name(saga.name) or saga.version < 1 or saga.deadline <= timedelta(0):
        raise InvalidDefinition(
            f"{saga.name!r}: needs a name like 'context.what', a version from 1 and a deadline"
        )
    if not 0 <= saga.share <= 100:
        raise InvalidDefinition(f"{saga.name}: share={saga.share} is no percentage: from 0 to 100")
    if not is_frozen(saga.state):
        raise InvalidDefinition(f"{saga.name}: the state must be a frozen dataclass")
    check_readable(saga.state, f"{saga.name}, state")
    lost = changeable(saga.state)
    if lost is not None:
        raise InvalidDefinition(f"{saga.name}, state: {lost}")
    kinds = [step.kind for step in saga.steps]
    if not set(kinds) - {Kind.BEGUN}:
        raise InvalidDefinition(f"{saga.name}: a saga needs at least one step to carry out")
    _check_names(saga)
    ranks = [_RANK[kind] for kind in kinds if kind in _RANK]
    if ranks != sorted(ranks) or Kind.BEGUN in kinds[kinds.count(Kind.BEGUN) :]:
        raise InvalidDefinition(
            f"{saga.name}: the order is begun?, compensatable*, pivot?, retriable*"
        )
    if kinds.count(Kind.BEGUN) > 1 or kinds.count(Kind.PIVOT) > 1:
        raise InvalidDefinition(f"{saga.name}: at most one begun step and one pivot")


def is_name(text: str) -> bool:
    """Return whether a text can name a saga or a command: the label of an app, and what it is."""
    return _NAME.fullmatch(text) is not None


def check_readable(of: Any, where: str) -> None:
    """Refuse a type whose values could be written and never be read back.

    :raises InvalidDefinition: if it is one
    """
    wrong = unreadable(of)
    if wrong is not None:
        raise InvalidDefinition(f"{where}: {wrong}")


def _check_names(saga: Saga[Any]) -> None:
    names = [step.name for step in saga.steps]
    for name in names:
        # Effect keys, failpoints and log lines are made of it.
        if not _STEP_NAME.fullmatch(name):
            raise InvalidDefinition(f"{saga.name}: {name!r} is no name for a step")
        if names.count(name) > 1:
            raise InvalidDefinition(f"{saga.name}: two steps are called {name!r}")


def _check_builders(saga: Saga[Any], step: Step[Any]) -> str:
    where = f"{saga.name}, step {step.name}"
    _check_retry(step.retry, where)
    check_within(step, saga.deadline, where)
    undo = None if step.undo is None else command_of(step.undo, saga.state, where)
    if step.awaits is not None:
        # The verbs are written with this module's words.
        from sagas.core.waits import check

        check(saga, step, where)
        return saga.context if undo is None else context_of(undo.name)
    _check_whole(step, where)
    if step.do is None:
        _check_same_context(undo, saga.context, where)
        return saga.context
    command = command_of(step.do, saga.state, where)
    _check_same_context(undo, context_of(command.name), where)
    check_readable(reply_type(command), f"{where}, reply of {command.name}")
    _check_when(step.when, saga.state, where)
    if step.keep is not None:
        if step.skippable:
            raise InvalidDefinition(f"{where}: later steps build on its reply; not skippable")
        kept = list(hints_of(step.keep, where).values())
        promised = reply_type(command)
        if kept != [saga.state, promised, saga.state]:
            raise InvalidDefinition(
                f"{where}: keep takes ({saga.state.__name__}, {type_name(promised)})"
                f" and returns {saga.state.__name__}"
            )
    return context_of(command.name)


def _check_whole(step: Step[Any], where: str) -> None:
    if step.do is None and step.kind is not Kind.BEGUN:
        raise InvalidDefinition(f"{where}: do= is missing, which builds its command")
    if step.undo is None and step.kind in {Kind.BEGUN, Kind.COMPENSATABLE}:
        raise InvalidDefinition(f"{where}: undo= is missing: it could never be taken back")


def _check_retry(retry: RetryPolicy, where: str) -> None:
    if min(retry.base or 0, retry.cap or 0) < 0:
        raise InvalidDefinition(f"{where}: nobody waits less than no time: base and cap from 0")
    if retry.max_attempts is not None and retry.max_attempts < 1:
        raise InvalidDefinition(f"{where}: max_attempts={retry.max_attempts}: at least 1")


def _check_when(when: Callable[..., Any] | None, state: type, where: str) -> None:
    if when is None:
        return
    hints = hints_of(when, where)
    if hints.pop("return", None) is not bool or list(hints.values()) != [state]:
        raise InvalidDefinition(f"{where}: when takes one {state.__name__} and returns a bool")


def _check_same_context(undo: type[Command[Any]] | None, context: str, where: str) -> None:
    if undo is not None and context_of(undo.name) != context:
        raise InvalidDefinition(f"{where}: {undo.name} undoes what {context} did; it must do it")


def command_of(builder: Callable[..., Any], state: type, where: str) -> type[Command[Any]]:
    """Return the class of the commands that a builder makes, if it is annotated as it should.

    :raises InvalidDefinition: if it is not
    """
    hints = hints_of(builder, where)
    command = hints.pop("return", None)
    if not (inspect.isclass(command) and issubclass(command, Command)):
        raise InvalidDefinition(f"{where}: the builder must be annotated to return a command")
    if not hasattr(command, "name"):
        raise InvalidDefinition(f"{where}: {command.__name__} has no name")
    if not is_name(command.name):
        raise InvalidDefinition(f"{where}: {command.name!r} is no name like 'context.What'")
    if list(hints.values()) != [state]:
        raise InvalidDefinition(f"{where}: the builder takes one {state.__name__}")
    return command


def hints_of(function: Callable[..., Any], where: str) -> dict[str, Any]:
    """Return the types a function is annotated with.

    :raises InvalidDefinition: if they cannot be read, or it cannot be called with values of them
    """
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError) as wrong:
        raise InvalidDefinition(f"{where}: annotations cannot be read: {wrong}") from wrong
    if hints:  # without any, what is asked for is missing anyway
        check_callable(function, len(hints.keys() - {"return"}), where)
    return hints


def check_callable(function: Callable[..., Any], given: int, where: str) -> None:
    """Refuse a function that cannot be called with so many values, or does nothing when it is.

    :raises InvalidDefinition: if it is one
    """
    wrong = uncallable(function, given)
    if wrong is not None:
        raise InvalidDefinition(f"{where}: {wrong}")


@cache
def command_type(builder: Callable[..., Any]) -> type[Command[Any]]:
    """Return the class of the commands that a builder makes."""
    command: type[Command[Any]] = typing.get_type_hints(builder)["return"]
    return command
