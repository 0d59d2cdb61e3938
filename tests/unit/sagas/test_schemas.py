from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from sagas.core.schemas import CannotDescribe, refusals, schema_of, unreadable


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Line:
    sku: str
    price: Decimal


@dataclass(frozen=True, kw_only=True)
class Placed:
    order_id: UUID
    total: int
    paid: bool
    day: date
    at: datetime
    color: Color
    note: str | None
    lines: tuple[Line, ...]
    marks: dict[str, int]
    more: Any
    extra: int = 0
    tags: list[str] = field(default_factory=list)


def test_every_type_that_can_be_written_is_described():
    text = {"type": "string"}

    described = schema_of(Placed)
    assert described["properties"] == {
        "order_id": {**text, "format": "uuid"},
        "total": {"type": "integer"},
        "paid": {"type": "boolean"},
        "day": {**text, "format": "date"},
        "at": {**text, "format": "date-time"},
        "color": {"enum": ["red", "blue"]},
        "note": {"anyOf": [text, {"type": "null"}]},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"sku": text, "price": {**text, "format": "decimal"}},
                "required": ["sku", "price"],
            },
        },
        "marks": {"type": "object", "additionalProperties": {"type": "integer"}},
        "more": {},
        "extra": {"type": "integer"},
        "tags": {"type": "array", "items": text},
    }
    assert set(described["properties"]) - set(described["required"]) == {"extra", "tags"}


@pytest.mark.parametrize("kind", [float, set, bytes])
def test_what_cannot_be_written_is_not_described(kind):
    with pytest.raises(CannotDescribe):
        schema_of(kind)


def an_object(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
NULLABLE = {"anyOf": [TEXT, {"type": "null"}]}
BEFORE = an_object(["a"], a=TEXT, b=NUMBER)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BEFORE, []),
        (an_object(["a"], a=TEXT, b=NUMBER, c=TEXT), []),
        (an_object(["a", "c"], a=TEXT, b=NUMBER, c=TEXT), ["c is new and has no default"]),
        (an_object(["a"], a=TEXT), ["b is gone"]),
        (an_object(["a"], a=NUMBER, b=NUMBER), ["a was string and is integer"]),
        (an_object(["a"], a=NULLABLE, b=NUMBER), ["a was string and is string or null"]),
        (an_object([], a=TEXT, b=NUMBER), ["a has another standing: required or not"]),
        (an_object(["a", "b"], a=TEXT, b=NUMBER), ["b has another standing: required or not"]),
    ],
)
def test_only_a_further_field_with_a_default_needs_no_new_version(after, said):
    assert list(refusals(BEFORE, after)) == said


def test_a_change_deep_inside_is_found_and_named():
    before, after = (
        an_object(["lines"], lines={"type": "array", "items": an_object(["x"], x=kind)})
        for kind in (TEXT, NUMBER)
    )

    assert list(refusals(before, after)) == ["lines[].x was string and is integer"]


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (an_object(["a"], a=TEXT), []),
        (an_object(["a"], a=NULLABLE), []),
        (an_object([], a=TEXT, b=NUMBER, unknown=TEXT), []),
        (an_object(["a"], a={}), []),
        (an_object(["b"], b=NUMBER), ["b is required and not always written"]),
        (an_object(["c"], c=TEXT), ["c is required and not always written"]),
        (an_object(["a"], a=NUMBER), ["a is string and is read as integer"]),
        (an_object([], b=TEXT), ["b is integer and is read as string"]),
    ],
)
def test_a_consumer_may_ask_only_for_what_is_always_written_in_that_type(read, said):
    assert list(unreadable(BEFORE, read)) == said


def test_what_may_be_null_is_not_read_as_if_it_never_were():
    written = an_object(["a"], a=NULLABLE)

    assert list(unreadable(written, an_object(["a"], a=TEXT))) == [
        "a is string or null and is read as string"
    ]
    assert list(unreadable(written, an_object(["a"], a=NULLABLE))) == []


def test_a_consumer_may_read_less_of_what_is_inside():
    inside = {"type": "array", "items": an_object(["x", "y"], x=TEXT, y=TEXT)}
    less, more = (
        an_object(["lines"], lines={"type": "array", "items": an_object([name], **{name: TEXT})})
        for name in ("x", "z")
    )

    written = an_object(["lines"], lines=inside)
    assert list(unreadable(written, less)) == []
    assert list(unreadable(written, more)) == ["lines[].z is required and not always written"]
