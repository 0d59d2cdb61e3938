"""Dataclasses to JSON and back: exactly, or not at all."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagas.core.codec import CannotDecode, CannotEncode, decode, encode


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Pair(Enum):
    BOTH = (1, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    sku: str
    price: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class Everything:
    text: str
    number: int
    flag: bool
    key: UUID
    amount: Decimal
    day: date
    moment: datetime
    color: Color
    level: Level
    nothing: None
    maybe: int | None
    line: Line
    lines: tuple[Line, ...]
    numbers: list[int]
    by_name: dict[str, Decimal]


WHOLE = Everything(
    text="ü ☃",
    number=2**60,
    flag=True,
    key=UUID(int=7),
    amount=Decimal("10.50"),
    day=date(2026, 2, 28),
    moment=datetime(2026, 2, 28, 12, 30, 0, 123456, tzinfo=UTC),
    color=Color.BLUE,
    level=Level.HIGH,
    nothing=None,
    maybe=None,
    line=Line(sku="MUG", price=Decimal("2.5000")),
    lines=(Line(sku="A", price=Decimal(0)), Line(sku="B", price=Decimal("1E+3"))),
    numbers=[1, 2],
    by_name={"a": Decimal("0.1")},
)


def through_json(value):
    return json.loads(json.dumps(encode(value)))


def test_every_kind_of_value_comes_back_as_it_was():
    again = decode(Everything, through_json(WHOLE))

    assert again == WHOLE
    assert str(again.amount) == "10.50"
    assert type(again.lines) is tuple
    assert again.moment.tzinfo is not None


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
amounts = st.decimals(allow_nan=False)
some_lines = st.builds(Line, sku=texts, price=amounts)


@given(
    st.builds(
        Everything,
        text=texts,
        number=st.integers(),
        flag=st.booleans(),
        key=st.uuids(),
        amount=amounts,
        day=st.dates(),
        moment=st.datetimes(timezones=st.just(UTC)),
        color=st.sampled_from(Color),
        level=st.sampled_from(Level),
        nothing=st.none(),
        maybe=st.none() | st.integers(),
        line=some_lines,
        lines=st.lists(some_lines).map(tuple),
        numbers=st.lists(st.integers()),
        by_name=st.dictionaries(texts, amounts),
    )
)
def test_whatever_is_encoded_is_decoded_to_the_same(value):
    assert decode(Everything, through_json(value)) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(st.dictionaries(st.sampled_from(list(Everything.__slots__)), json_values))
def test_foreign_json_is_read_or_refused_and_never_anything_else(document):
    whole = {**through_json(WHOLE), **document}
    try:
        value = decode(Everything, whole)
    except CannotDecode:
        return
    assert decode(Everything, through_json(value)) == value


@pytest.mark.parametrize(
    "value",
    [1.5, b"bytes", {1, 2}, object(), {1: "a"}, {UUID(int=1): "a"}],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else f"{value}",
)
def test_what_has_no_exact_form_is_refused(value):
    with pytest.raises(CannotEncode, match="no exact JSON form"):
        encode(value)


def test_the_value_of_an_enum_is_encoded_too():
    assert encode(Pair.BOTH) == [1, 2]


def test_a_value_deep_inside_is_refused_as_well():
    with pytest.raises(CannotEncode, match="float has no exact JSON form"):
        encode({"a": [Line(sku="A", price=0.5)]})


@dataclass(frozen=True, kw_only=True, slots=True)
class Small:
    number: int
    text: str = "none"


def test_a_missing_field_with_a_default_takes_it():
    assert decode(Small, {"number": 1}) == Small(number=1)


def test_a_missing_field_is_refused_by_name():
    with pytest.raises(CannotDecode, match="Small: field 'number' is missing"):
        decode(Small, {"text": "a"})


def test_an_unknown_field_is_refused_when_the_document_is_ours():
    with pytest.raises(CannotDecode, match="Small: unknown field 'more'"):
        decode(Small, {"number": 1, "more": 2})


def test_an_unknown_field_of_another_contexts_event_is_ignored_at_every_depth():
    found = decode(Nested, {"small": [{"number": 1, "more": 2}], "and": "more"}, tolerant=True)

    assert found == Nested(small=(Small(number=1),))


@dataclass(frozen=True, kw_only=True, slots=True)
class Nested:
    small: tuple[Small, ...]
    by_name: dict[str, Small] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"small": [{"number": 1}, {"number": "x"}]}, r"Nested\.small\[1\]\.number: expected int"),
        ({"small": [], "by_name": {"a": {"number": None}}}, r"Nested\.by_name\.a\.number"),
        ({"small": [], "by_name": []}, r"Nested\.by_name: expected an object"),
        ({"small": {}}, r"Nested\.small: expected a list"),
        ({"small": ["x"]}, r"Nested\.small\[0\]: expected an object, found 'x'"),
        ([], "Nested: expected an object"),
    ],
)
def test_an_error_says_where_in_the_document_it_is(document, path):
    with pytest.raises(CannotDecode, match=path):
        decode(Nested, document)


def test_a_long_foreign_value_is_cut_in_the_error():
    with pytest.raises(CannotDecode) as refused:
        decode(Small, {"number": "x" * 10_000})
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("number", True),
        ("number", 1.0),
        ("number", "1"),
        ("flag", 1),
        ("text", 1),
        ("key", "no uuid"),
        ("key", 7),
        ("amount", "ten"),
        ("amount", 0.1),
        ("amount", True),
        ("amount", [0, [1], 2]),
        ("day", "2026-02-30"),
        ("day", 7),
        ("moment", "yesterday"),
        ("moment", None),
        ("color", "green"),
        ("color", ["red"]),
        ("level", 3),
        ("level", True),
        ("nothing", 0),
        ("maybe", "1"),
    ],
)
def test_a_value_of_another_type_is_refused(name, wrong):
    with pytest.raises(CannotDecode, match=rf"Everything\.{name}"):
        decode(Everything, {**through_json(WHOLE), name: wrong})


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoKinds:
    value: int | str


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedTuple:
    value: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Real:
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OfNumbers:
    value: dict[int, str]


@pytest.mark.parametrize(
    ("cls", "value"),
    [
        (TwoKinds, 1),
        (FixedTuple, [1, 2, 3]),
        (FixedTuple, [1, 2]),
        (Real, 1),
        (OfNumbers, {"1": ""}),
    ],
    ids=["two kinds", "tuple too long", "fixed tuple", "float", "keys that are no text"],
)
def test_a_type_without_an_exact_form_cannot_be_read(cls, value):
    with pytest.raises(CannotDecode, match=rf"{cls.__name__}\.value"):
        decode(cls, {"value": value})


@dataclass(frozen=True, kw_only=True, slots=True)
class Positive:
    number: int

    def __post_init__(self):
        if self.number < 1:
            raise ValueError("must be positive")


@dataclass(frozen=True, kw_only=True)
class Computed:
    number: int
    double: int = field(init=False, default=0)


def test_a_value_that_refuses_itself_is_refused_with_its_place():
    with pytest.raises(CannotDecode, match="Positive: must be positive"):
        decode(Positive, {"number": 0})


def test_a_computed_field_cannot_be_given():
    with pytest.raises(CannotDecode, match="Computed"):
        decode(Computed, {"number": 1, "double": 2})


@dataclass(frozen=True, kw_only=True, slots=True)
class Anything:
    value: Any


@given(json_values.filter(lambda value: "nan" not in repr(value)))
def test_any_takes_what_json_can_say(value):
    assert decode(Anything, {"value": value}).value == value
