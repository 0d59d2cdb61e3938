"""JSON Schemas of dataclasses, as `sagas.core.codec` writes them, and what one may do to another.

Only what the codec can write is described, so the schemas are few and plain: an object with its
fields, and within it texts, whole numbers, truth values, lists, maps and further objects.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from sagas.core.commands import type_name
from sagas.core.errors import SagasError

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# Before others that they are a kind of: a truth value is an int, an instant is a date.
_SCALARS: Final[tuple[tuple[type, Schema], ...]] = (
    (str, {"type": "string"}),
    (bool, {"type": "boolean"}),
    (int, {"type": "integer"}),
    (UUID, {"type": "string", "format": "uuid"}),
    (Decimal, {"type": "string", "format": "decimal"}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
)


class CannotDescribe(SagasError):
    """A type has no JSON Schema, since the codec does not write it."""


def schema_of(cls: Any) -> Schema:
    """Return the JSON Schema of a type that the codec can write.

    :raises CannotDescribe: if it cannot
    """
    origin, arguments = typing.get_origin(cls), typing.get_args(cls)
    if origin in (typing.Union, types.UnionType):
        [member] = [each for each in arguments if each is not type(None)] or [None]
        return {"anyOf": [schema_of(member), {"type": "null"}]}
    if origin in (tuple, list):
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    return _object(cls) if dataclasses.is_dataclass(cls) else _scalar(cls)


def _scalar(cls: Any) -> Schema:
    if cls is Any:
        return {}
    if isinstance(cls, type) and issubclass(cls, Enum):
        return {"enum": [member.value for member in cls]}
    for kind, schema in _SCALARS:
        if isinstance(cls, type) and issubclass(cls, kind):
            return dict(schema)
    raise CannotDescribe(type_name(cls))


def _object(cls: Any) -> Schema:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "properties": {field.name: schema_of(hints[field.name]) for field in fields},
        "required": [
            field.name
            for field in fields
            if field.default is missing and field.default_factory is missing
        ],
    }


def refusals(before: Schema, after: Schema, path: str = "") -> Iterator[str]:
    """Tell what of a change needs a new version: whatever is not a further optional field."""
    if before.get("type") == after.get("type") == "object" and "properties" in before:
        yield from _refused_fields(before, after, path)
    elif before.get("type") == after.get("type") == "array":
        yield from refusals(before["items"], after["items"], f"{path}[]")
    elif before != after:
        yield f"{path or 'it'} was {_short(before)} and is {_short(after)}"


def _refused_fields(before: Schema, after: Schema, path: str) -> Iterator[str]:
    for name, schema in before["properties"].items():
        where = f"{path}.{name}".lstrip(".")
        if name not in after.get("properties", {}):
            yield f"{where} is gone"
        else:
            yield from refusals(schema, after["properties"][name], where)
            if (name in before["required"]) != (name in after["required"]):
                yield f"{where} has another standing: required or not"
    for name in after.get("properties", {}):
        if name not in before["properties"] and name in after["required"]:
            yield f"{f'{path}.{name}'.lstrip('.')} is new and has no default"


def unreadable(written: Schema, read: Schema, path: str = "") -> Iterator[str]:
    """Tell what a consumer asks of an event that its producer does not promise."""
    if "anyOf" in read:  # who takes null as well takes what is never null
        inner = written["anyOf"][0] if "anyOf" in written else written
        yield from unreadable(inner, read["anyOf"][0], path)
    elif read.get("type") == written.get("type") == "object" and "properties" in read:
        yield from _unreadable_fields(written, read, path)
    elif read.get("type") == written.get("type") == "array":
        yield from unreadable(written["items"], read["items"], f"{path}[]")
    elif read not in ({}, written):
        yield f"{path or 'it'} is {_short(written)} and is read as {_short(read)}"


def _unreadable_fields(written: Schema, read: Schema, path: str) -> Iterator[str]:
    promised: Mapping[str, Schema] = written.get("properties", {})
    for name, schema in read["properties"].items():
        where = f"{path}.{name}".lstrip(".")
        if name in promised:
            yield from unreadable(promised[name], schema, where)
        if name in read["required"] and name not in written.get("required", ()):
            yield f"{where} is required and not always written"


def _short(schema: Schema) -> str:
    if "anyOf" in schema:
        return f"{_short(schema['anyOf'][0])} or null"
    return str(schema.get("format") or schema.get("type") or schema)
