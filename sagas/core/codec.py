"""Dataclasses to JSON and back, strictly: what cannot be represented exactly is refused."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from sagas.core.commands import type_name
from sagas.core.errors import SagasError

T = TypeVar("T")

_PLAIN = (str, int, bool, type(None))


class CannotEncode(SagasError):
    """A value has no exact JSON form."""


class CannotDecode(SagasError):
    """JSON does not fit the type it should be read into."""


def encode(value: Any) -> Any:
    """Return the JSON form of a dataclass, or of a value inside one.

    :raises CannotEncode: if a value is of a type without an exact form (a float, say)
    """
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, UUID | Decimal | date):  # a datetime is a date
        return value.isoformat() if isinstance(value, date) else str(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): encode(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise CannotEncode(f"{type(value).__name__} has no exact JSON form")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise CannotEncode(f"a key of type {type(key).__name__} has no exact JSON form")
    return key


def encode_as(cls: Any, value: Any) -> Any:
    """Return the JSON form of a value after making sure that it is read back as it was.

    What is written once is all that is left of a value. Found out in the transaction that would
    write it, an unfit one is a fault of whoever made it; found out by the next reader it could
    be neither carried on nor undone.

    :raises CannotEncode: if it is not of the type, or reads back as another value
    """
    if value is None and cls in {None, type(None)}:
        return None
    name = type_name(cls)
    if dataclasses.is_dataclass(cls) and type(value) is not cls:
        raise CannotEncode(f"expected a {name}, found {value!r:.80}")
    encoded = _encoded(value, name)
    try:
        read = decode(cls, encoded)
    except CannotDecode as wrong:
        raise CannotEncode(
            f"{wrong}, which could not be read back: give what is annotated"
        ) from wrong
    if read != value:
        raise CannotEncode(f"{_where(value, read, name)}: give what is annotated")
    return encoded


def _encoded(value: Any, name: str) -> Any:
    try:
        return encode(value)
    except CannotEncode as wrong:
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                _encoded(getattr(value, field.name), f"{name}.{field.name}")
        raise CannotEncode(f"{name}: {wrong}") from wrong


def _where(value: Any, read: Any, name: str) -> str:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            was, becomes = getattr(value, field.name), getattr(read, field.name)
            if was != becomes:
                return (
                    f"{name}.{field.name} is {was!r:.80} and would be read back as {becomes!r:.80}"
                )
    return f"{name} is {value!r:.80} and would be read back as {read!r:.80}"


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def decode(cls: type[T], value: Any, *, tolerant: bool = False) -> T:
    """Read JSON into a type.

    :param tolerant: ignore fields the dataclass does not have, as a consumer of another
        context's events must
    :raises CannotDecode: if a field is missing, unknown, or of another type
    """
    result: T = _Reader(tolerant=tolerant).read(cls, value, getattr(cls, "__name__", str(cls)))
    return result


class _Reader:
    """Reads JSON by type; ``path`` says where in the document it is, for the error."""

    def __init__(self, *, tolerant: bool) -> None:
        self.tolerant = tolerant

    def read(self, expected: Any, value: Any, path: str) -> Any:
        origin = typing.get_origin(expected)
        if origin in (typing.Union, types.UnionType):
            return self._optional(expected, value, path)
        if origin in (tuple, list):
            return self._sequence(expected, origin, value, path)
        if origin is dict:
            return self._mapping(expected, value, path)
        if dataclasses.is_dataclass(expected) and isinstance(expected, type):
            return self._dataclass(expected, value, path)
        return _scalar(expected, value, path)

    def _optional(self, expected: Any, value: Any, path: str) -> Any:
        members = [m for m in typing.get_args(expected) if m is not type(None)]
        if value is None and len(members) < len(typing.get_args(expected)):
            return None
        if len(members) != 1:
            raise CannotDecode(f"{path}: only X | None is supported")
        return self.read(members[0], value, path)

    def _sequence(self, expected: Any, origin: Any, value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise _unexpected(path, "a list", value)
        item, *more = typing.get_args(expected)
        if more not in ([], [...]):
            raise CannotDecode(f"{path}: only tuple[X, ...] is supported")
        return origin(self.read(item, v, f"{path}[{i}]") for i, v in enumerate(value))

    def _mapping(self, expected: Any, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _unexpected(path, "an object", value)
        key, item = typing.get_args(expected)
        if key is not str:
            raise CannotDecode(f"{path}: only dict[str, X] is supported")
        return {k: self.read(item, v, f"{path}.{k}") for k, v in value.items()}

    def _dataclass(self, cls: type, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise _unexpected(path, "an object", value)
        hints = _hints(cls)
        fields = dataclasses.fields(cls)
        unknown = value.keys() - {field.name for field in fields}
        if unknown and not self.tolerant:
            raise CannotDecode(f"{path}: unknown field {min(unknown)!r}")
        arguments = {}
        for field in fields:
            if field.name in value:
                where = f"{path}.{field.name}"
                arguments[field.name] = self.read(hints[field.name], value[field.name], where)
            elif _is_required(field):
                raise CannotDecode(f"{path}: field {field.name!r} is missing")
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as wrong:
            raise CannotDecode(f"{path}: {wrong}") from wrong


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _scalar(expected: Any, value: Any, path: str) -> Any:
    if expected is Any:
        return value
    if not isinstance(expected, type):
        raise CannotDecode(f"{path}: {expected!r} cannot be read")
    if expected in _PLAIN:
        # bool is an int in Python, and must not pass for one here.
        if type(value) is not expected:
            raise _unexpected(path, expected.__name__, value)
        return value
    return _written_as_text(expected, value, path)


def _written_as_text(expected: type, value: Any, path: str) -> Any:
    # A float has lost digits already, and true equals 1.
    if isinstance(value, bool | float | list):
        raise _unexpected(path, expected.__name__, value)
    try:
        if issubclass(expected, datetime | date):
            return expected.fromisoformat(value)
        if issubclass(expected, UUID | Decimal | Enum):
            return expected(value)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as wrong:
        raise CannotDecode(f"{path}: {value!r:.80} is not a {expected.__name__}") from wrong
    raise CannotDecode(f"{path}: {expected!r} cannot be read")


def _unexpected(path: str, expected: str, value: Any) -> CannotDecode:
    return CannotDecode(f"{path}: expected {expected}, found {value!r:.80}")
