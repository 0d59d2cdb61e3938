"""What of a definition its instances rely on, as one short text.

The text is a digest of the whole, then four digits for what the steps share (the fields of the
state, whether there is a lock) and four for each step. So an instance that keeps it can be
refused by a definition that is another one, and told which step differs.

In it go names, kinds, commands with their fields and replies, groups, waits, children and the
fields of the state. Not in it go the bodies of functions, retry policies, durations and what an
operator may skip, which may change under an instance's feet. What is not set is left out, so that
an engine that learns more about steps gives the definitions of today the fingerprint they have.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable, Iterable
from datetime import timedelta
from difflib import SequenceMatcher
from enum import Enum
from typing import Any

from sagas.core.commands import Command, reply_type
from sagas.core.retry import RetryPolicy

GIVEN = "given"
_WHOLE = 16
_PART = 4


def fingerprint_of(saga: Any) -> str:
    """Return the fingerprint of a definition."""
    shared = {"state": _type(saga.state), "lock": saga.lock is not None}
    parts = [shared, *(_step(number, step) for number, step in enumerate(saga.steps))]
    whole = _digest([saga.name, saga.version, *parts], _WHOLE)
    return ":".join([whole, *(_digest(part, _PART) for part in parts)])


def difference(saga: Any, began_with: str) -> str:
    """Return in words how a definition differs from the one with an older fingerprint."""
    old, new = began_with.split(":")[1:], saga.fingerprint.split(":")[1:]
    if not old:
        return "it is another one"
    said = [] if old[0] == new[0] else ["the fields of its state or its lock have changed"]
    said += _steps_that_differ([step.name for step in saga.steps], old[1:], new[1:])
    return "; ".join(said) or "it is another one"


def _steps_that_differ(names: list[str], old: list[str], new: list[str]) -> Iterable[str]:
    for what, low, high, first, last in SequenceMatcher(None, old, new, False).get_opcodes():
        here = ", ".join(f"{number + 1} ({names[number]})" for number in range(first, last))
        gone = ", ".join(str(number + 1) for number in range(low, high))
        if what == "insert":
            yield f"step {here} is new"
        elif what == "delete":
            yield f"what was step {gone} is gone"
        elif what == "replace":
            yield f"step {here} is not what step {gone} was"


def _digest(value: Any, length: int) -> str:
    written = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()[:length]


def _step(number: int, step: Any) -> dict[str, Any]:
    described = _fields(step)
    described.pop("skippable", None)
    if described.get("group") is not None:
        # Counted from the step itself, so that a step that is put in before changes nothing here.
        described["group"] = number - described["group"] + 1
    return described


def _fields(of: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(of)]
    described = {name: _value(getattr(of, name)) for name in names}
    # Not "in": the number of a first step is 0, and that equals False.
    return {
        name: value
        for name, value in described.items()
        if not (value is None or value is False or value == ())
    }


def _value(value: Any) -> Any:
    if isinstance(value, RetryPolicy | None):
        return None
    if isinstance(value, timedelta | Enum):
        return GIVEN if isinstance(value, timedelta) else value.value
    if isinstance(value, type) or callable(value):
        return _type(value) if isinstance(value, type) else _builder(value)
    if hasattr(value, "steps"):  # a child is a definition of its own, with its own version
        return [value.name, value.version]
    return _fields(value) if dataclasses.is_dataclass(value) else value


def _builder(build: Callable[..., Any]) -> Any:
    made = typing.get_type_hints(build).get("return")
    if not (isinstance(made, type) and issubclass(made, Command)):
        return GIVEN
    return {"name": made.name, "fields": _type(made), "reply": _type(reply_type(made))}


def _type(of: Any, inside: tuple[Any, ...] = ()) -> Any:
    """Describe a type by what is stored of it: fields have names, classes may be renamed."""
    if of in inside:
        return "itself"
    if dataclasses.is_dataclass(of):
        hints = typing.get_type_hints(of)
        fields = dataclasses.fields(of)
        return {field.name: _type(hints[field.name], (*inside, of)) for field in fields}
    if isinstance(of, type) and issubclass(of, Enum):
        return ["one of", *sorted(repr(each.value) for each in of)]
    arguments = typing.get_args(of)
    if arguments:
        return [str(typing.get_origin(of)), *(_type(each, inside) for each in arguments)]
    return of.__name__ if isinstance(of, type) else str(of)
