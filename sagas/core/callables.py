"""Which functions the engine can call: at once, and with what it has to give."""

import inspect
from collections.abc import Callable
from typing import Any


def uncallable(function: Callable[..., Any], given: int) -> str | None:
    """Return why a function cannot be called with so many values, and the remedy.

    What a coroutine function returns would be taken for its answer, and nothing of it would
    have run.
    """
    for asked in (function, type(function).__call__):
        if inspect.iscoroutinefunction(asked) or inspect.isasyncgenfunction(asked):
            return f"{_name(function)} is an async function, which nobody awaits: write it with def"
        if inspect.isgeneratorfunction(asked):
            return f"{_name(function)} is a generator, which nobody runs: return instead of yield"
    try:
        inspect.signature(function).bind(*[None] * given)
    except TypeError as wrong:
        return f"{_name(function)} is called with {_values(given)}: {wrong}"
    return None


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _values(given: int) -> str:
    return "one value" if given == 1 else f"{given} values"
