"""How a context says which function carries out which command."""

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sagas.core.commands import Command, Rejected, context_of, reply_type, type_name
from sagas.core.definition import InvalidDefinition, Saga, check_callable, command_type
from sagas.core.keys import Direction

R = TypeVar("R")
C = TypeVar("C", bound=Command[Any])
I = TypeVar("I")  # noqa: E741 - intent
O = TypeVar("O")  # noqa: E741 - outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Handler:
    """Everything the engine needs to carry out one command."""

    command: type[Command[Any]]
    carry_out: Callable[..., Any]
    """Runs in the step's transaction; of a remote command, records the outcome."""
    intent: Callable[[Any], Any] | None = None
    call: Callable[[Any, Any], Any] | None = None
    close: Callable[[Any, Any], Any] | None = None
    refused: Callable[[Any, Any, Rejected], None] | None = None
    shares_commit: bool = False
    """Of a local command: may be carried out in one transaction with others of its kind."""

    @property
    def is_remote(self) -> bool:
        """Return whether carrying it out calls another system."""
        return self.call is not None

    @property
    def context(self) -> str:
        """Return the context whose transaction it runs in."""
        return context_of(self.command.name)


HANDLERS: dict[str, Handler] = {}


def handles(
    command: type[Command[R]], *, shares_commit: bool = False
) -> Callable[[Callable[[C], R]], Callable[[C], R]]:
    """Register a local handler: it runs in the step's own transaction, with its completion.

    It may raise ``Rejected``; anything else it raises is a fault and is retried. What it wrote is
    rolled back in both cases.

    :param shares_commit: several sagas that come to the step at once may make it in one
        transaction, which is cheaper. For a handler that writes rows of its own saga only: others
        (a stock, an account) would be locked until the last of up to ``SAGAS_CLAIM_BATCH`` sagas
        is done, and what is set for the transaction alone is found by the next. If one of them
        fails, each is carried out once more, alone.
    """

    def register(function: Callable[[C], R]) -> Callable[[C], R]:
        _add(Handler(command=command, carry_out=function, shares_commit=shares_commit))
        return function

    return register


def handles_remote(
    command: type[Command[R]],
    *,
    intent: Callable[[C], I],
    call: Callable[[C, I], O],
    close: Callable[[C, I], O | None] | None = None,
    refused: Callable[[C, I, Rejected], None] | None = None,
) -> Callable[[Callable[[C, I, O], R]], Callable[[C, I, O], R]]:
    """Register a handler that calls another system, with no transaction open while it does.

    :param intent: runs in a fenced transaction committed before the call; writes the row that
        says what is about to be tried, and returns what the call needs
    :param call: the call; returns the outcome, or raises ``Rejected`` (a definite no),
        ``Unknown`` (ask again), or anything else (a fault)
    :param close: required at a pivot: after a rejection, makes the no final at the other side;
        ``None`` = final, an outcome = it had happened after all
    :param refused: runs in the transaction that records a rejection

    The decorated function records the outcome in the step's final transaction.
    """

    def register(function: Callable[[C, I, O], R]) -> Callable[[C, I, O], R]:
        _add(
            Handler(
                command=command,
                carry_out=function,
                intent=intent,
                call=call,
                close=close,
                refused=refused,
            )
        )
        return function

    return register


def _add(handler: Handler) -> None:
    name = handler.command.name
    known = HANDLERS.get(name)
    if known is not None and _place(known.carry_out) != _place(handler.carry_out):
        raise InvalidDefinition(f"{name} has two handlers")
    _check_callable(handler)
    answer = typing.get_type_hints(handler.carry_out).get("return")
    promised = reply_type(handler.command)
    if answer != promised:
        raise InvalidDefinition(
            f"{name} promises {type_name(promised)}, its handler returns {answer!r}"
        )
    HANDLERS[name] = handler


def _check_callable(handler: Handler) -> None:
    name = handler.command.name
    check_callable(handler.carry_out, 3 if handler.is_remote else 1, name)
    for what, given in (("intent", 1), ("call", 2), ("close", 2), ("refused", 3)):
        function = getattr(handler, what)
        if function is not None:
            check_callable(function, given, f"{name}, {what}=")


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    """Return where a function stands; a module that is imported again has the same."""
    return function.__module__, function.__qualname__


def handler_of(command: type[Command[Any]] | Command[Any]) -> Handler:
    """Return the handler of a command.

    :raises InvalidDefinition: if no context handles it
    """
    handler = HANDLERS.get(command.name)
    if handler is None:
        raise InvalidDefinition(f"no handler for {command.name}: decorate one with @handles")
    return handler


def calls_out(saga: Saga[Any], number: int, direction: Direction) -> bool:
    """Return whether a step, in one direction, calls another system."""
    step = saga.steps[number]
    build = step.do if direction is Direction.DO else step.undo
    return build is not None and handler_of(command_type(build)).is_remote
