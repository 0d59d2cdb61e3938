"""Which types can be read back from the JSON that is written of them, asked at import."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sagas.core.commands import type_name

_WHOLE = (str, int, bool, type(None))
_AS_TEXT = (UUID, Decimal, date, Enum)  # a datetime is a date


def unreadable(of: Any) -> str | None:
    """Return which part of a type can be written and not be read back, and the remedy."""
    return next(_faults(of, type_name(of), frozenset()), None)


def changeable(of: Any) -> str | None:
    """Return which part of a type could be changed in place, and the remedy.

    A state that ``keep`` changes in place would look unchanged, and never be stored.
    """
    return next(_changeable(of, type_name(of), frozenset()), None)


def _faults(of: Any, path: str, inside: frozenset[Any]) -> Iterator[str]:
    origin, arguments = typing.get_origin(of), typing.get_args(of)
    if of in inside or of is Any:
        return
    if origin in (typing.Union, types.UnionType):
        yield from _of_union(arguments, path, inside)
    elif origin in (tuple, list, dict):
        yield from _of_collection(of, path, inside)
    elif isinstance(of, type) and dataclasses.is_dataclass(of):
        yield from _of_dataclass(of, path, inside)
    elif not (isinstance(of, type) and (of in _WHOLE or issubclass(of, _AS_TEXT))):
        yield (
            f"{path}: {type_name(of)} cannot be read back: take str, int, bool, UUID, Decimal,"
            " date, datetime, an Enum, a dataclass of them, tuple[X, ...] or X | None"
        )


def _of_collection(of: Any, path: str, inside: frozenset[Any]) -> Iterator[str]:
    first, *more = typing.get_args(of) or (None,)  # of tuple[()] there are none
    if typing.get_origin(of) is tuple and more != [...]:
        yield f"{path}: {of} cannot be read back: only tuple[X, ...] can, or a dataclass"
    elif typing.get_origin(of) is dict and first is not str:
        yield f"{path}: {of} cannot be read back: only dict[str, X] can"
    else:
        yield from _faults(more[0] if typing.get_origin(of) is dict else first, path, inside)


def _of_union(arguments: tuple[Any, ...], path: str, inside: frozenset[Any]) -> Iterator[str]:
    members = [each for each in arguments if each is not type(None)]
    if len(members) != 1:
        yield f"{path}: which of several types it is cannot be read back: only X | None can"
    else:
        yield from _faults(members[0], path, inside)


def _of_dataclass(of: Any, path: str, inside: frozenset[Any]) -> Iterator[str]:
    if not of.__dataclass_params__.eq:
        yield f"{path}: without eq it cannot be compared with what is read back"
    for field, hint in _fields(of):
        if field.init:
            yield from _faults(hint, f"{path}.{field.name}", inside | {of})
        else:
            yield f"{path}.{field.name}: a field with init=False cannot be read back"


def _changeable(of: Any, path: str, inside: frozenset[Any]) -> Iterator[str]:
    if of in inside:
        return
    if (typing.get_origin(of) or of) in (list, dict):
        yield (
            f"{path}: a {type_name(of)} could be changed in place, and the change would be lost:"
            " take tuple[X, ...], of frozen dataclasses where it has keys"
        )
    elif isinstance(of, type) and dataclasses.is_dataclass(of):
        if not is_frozen(of):
            yield f"{path}: {of.__name__} must be a frozen dataclass"
        for field, hint in _fields(of):
            yield from _changeable(hint, f"{path}.{field.name}", inside | {of})
    else:
        for argument in typing.get_args(of):
            yield from _changeable(argument, path, inside)


def is_frozen(state: Any) -> bool:
    """Return whether a type is a frozen dataclass."""
    parameters = getattr(state, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def _fields(of: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(of)
    return [(field, hints[field.name]) for field in dataclasses.fields(of)]
