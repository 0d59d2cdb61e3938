"""Steps that wait: for a signal, for an instant, for another saga.

They are rank-neutral: they may stand before and after the pivot. What they wait for is a row, so a
saga may wait for months and costs nothing while it does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal, TypeVar

from sagas.core.commands import Command, type_name
from sagas.core.definition import InvalidDefinition, Kind, Saga, Step, check_readable, hints_of
from sagas.core.readable import is_frozen
from sagas.core.retry import DEFAULT

S = TypeVar("S")
P = TypeVar("P")
C = TypeVar("C")

Lasting = timedelta | Callable[[Any], timedelta]


class Otherwise(StrEnum):
    """What a saga does when its signal has not come in time."""

    COMPENSATE = "compensate"
    GO_ON = "go_on"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalAwaited:
    """A signal with a payload of one type, for so long and no longer."""

    payload: type
    within: Lasting
    otherwise: Otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeAwaited:
    """So much business time."""

    lasts: Lasting


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildAwaited:
    """The end of another saga, which the step starts."""

    of: Saga[Any]
    start: Callable[[Any], Any]
    key: Callable[[Any], str]


Awaited = SignalAwaited | TimeAwaited | ChildAwaited


def wait_for(
    name: str,
    *,
    signal: type[P],
    within: timedelta | Callable[[S], timedelta],
    keep: Callable[[S, P], S] | None = None,
    otherwise: Literal["compensate", "go_on"] = "compensate",
) -> Step[S]:
    """Return a step that waits for the signal of its name.

    :param signal: the frozen dataclass of its payload
    :param within: how long, in business time, from the commit that begins to wait
    :param keep: folds the payload into the state
    :param otherwise: what to do when it has not come; past the pivot only ``go_on``
    """
    awaits = SignalAwaited(payload=signal, within=within, otherwise=Otherwise(otherwise))
    return Step(name, Kind.WAIT, None, None, keep, DEFAULT, awaits=awaits)


def sleep(name: str, *, lasts: timedelta | Callable[[S], timedelta]) -> Step[S]:
    """Return a step that lets business time pass: a timer that outlives every process."""
    return Step(name, Kind.SLEEP, None, None, None, DEFAULT, awaits=TimeAwaited(lasts=lasts))


def child(
    name: str,
    *,
    of: Saga[C],
    start: Callable[[S], C],
    key: Callable[[S], str],
    undo: Callable[[S], Command[None]] | None = None,
    keep: Callable[[S, C], S] | None = None,
) -> Step[S]:
    """Return a step that starts another saga and waits for its end.

    :param start: makes the state the child begins with
    :param key: its business key: the child is started once under it
    :param undo: undoes what a completed child has done; required before the pivot
    :param keep: folds the child's last state into this saga's
    """
    awaits = ChildAwaited(of=of, start=start, key=key)
    return Step(name, Kind.CHILD, None, undo, keep, DEFAULT, awaits=awaits)


def check(saga: Saga[Any], step: Step[Any], where: str) -> None:
    """Refuse a wait that could not be carried out.

    :raises InvalidDefinition: if annotations do not fit, or it stands on the wrong side of the
        point of no return
    """
    number = saga.steps.index(step)
    past = number >= saga.first_retriable
    if isinstance(step.awaits, SignalAwaited):
        _check_signal(saga, step, step.awaits, where, past=past)
    elif isinstance(step.awaits, TimeAwaited):
        _check_lasting(saga, step.awaits.lasts, where)
        if not past:
            _check_asleep(saga, number, where)
    elif isinstance(step.awaits, ChildAwaited):
        _check_child(saga, step, step.awaits, where, past=past)


def _check_signal(
    saga: Saga[Any], step: Step[Any], awaits: SignalAwaited, where: str, *, past: bool
) -> None:
    if past and awaits.otherwise is Otherwise.COMPENSATE:
        raise InvalidDefinition(
            f"{where}: past the point of no return nothing is compensated: say otherwise='go_on'"
        )
    if not is_frozen(awaits.payload):
        raise InvalidDefinition(f"{where}: a signal's payload is a frozen dataclass")
    check_readable(awaits.payload, f"{where}, payload")
    _check_lasting(saga, awaits.within, where)
    _check_keep(saga, step, awaits.payload, where)


def _check_child(
    saga: Saga[Any], step: Step[Any], awaits: ChildAwaited, where: str, *, past: bool
) -> None:
    of = awaits.of
    if of.steps[0].kind is Kind.BEGUN:
        raise InvalidDefinition(f"{where}: {of.name} begins with a step that nobody would do")
    if past and (of.first_retriable > 0 or step.undo is not None):
        raise InvalidDefinition(
            f"{where}: past the point of no return a child must succeed: no undo=, and"
            f" {of.name} must consist of retriable steps"
        )
    if not past and step.undo is None:
        raise InvalidDefinition(f"{where}: before the point of no return a child needs undo=")
    _check_function(awaits.start, saga.state, of.state, f"{where}: start")
    _check_function(awaits.key, saga.state, str, f"{where}: key")
    _check_keep(saga, step, of.state, where)


def _check_lasting(saga: Saga[Any], lasting: Lasting, where: str) -> None:
    if isinstance(lasting, timedelta):
        if lasting <= timedelta(0):
            raise InvalidDefinition(f"{where}: a wait lasts longer than nothing")
        return
    _check_function(lasting, saga.state, timedelta, f"{where}: how long it waits")


def _check_asleep(saga: Saga[Any], number: int, where: str) -> None:
    """Refuse a sleep that nobody lives to see the end of."""
    asleep = timedelta(0)
    for step in saga.steps[: number + 1]:
        if isinstance(step.awaits, TimeAwaited) and isinstance(step.awaits.lasts, timedelta):
            asleep += step.awaits.lasts
    if asleep > saga.deadline:
        raise InvalidDefinition(
            f"{where}: by then the saga has slept {asleep} and its deadline of {saga.deadline} has"
            " turned it round: a longer deadline=, or sleep past the point of no return"
        )


def _check_function(function: Callable[..., Any], takes: Any, gives: Any, where: str) -> None:
    if list(hints_of(function, where).values()) != [takes, gives]:
        raise InvalidDefinition(
            f"{where} is a function that takes {type_name(takes)} and returns {type_name(gives)}"
        )


def _check_keep(saga: Saga[Any], step: Step[Any], gets: Any, where: str) -> None:
    if step.keep is None:
        return
    if list(hints_of(step.keep, where).values()) != [saga.state, gets, saga.state]:
        raise InvalidDefinition(
            f"{where}: keep takes ({saga.state.__name__}, {type_name(gets)})"
            f" and returns {saga.state.__name__}"
        )
