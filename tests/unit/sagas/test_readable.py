"""What is written once is all that is left: types and values that are not read back are refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

import pytest

from sagas.api import Command, InvalidDefinition, Saga, retriable, wait_for
from sagas.core.codec import CannotEncode, encode_as
from sagas.core.readable import changeable, unreadable
from tests.unit.sagas.words import Reply, State, a_saga


@dataclass(frozen=True)
class Node:
    """Of itself, as a tree is."""

    under: "tuple[Node, ...]" = ()
    known: Any = None


@dataclass(frozen=True)
class Derived:
    value: int = field(init=False, default=1)


@dataclass(frozen=True, eq=False)
class Incomparable:
    value: int = 1


@dataclass
class Loose:
    value: int = 1


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (tuple[int, str], r"tuple\[int, str\]: .* only tuple\[X, \.\.\.\] can"),
        (tuple[()], r"only tuple\[X, \.\.\.\] can"),
        (int | str | None, "which of several types it is"),
        (Mapping[str, int], "cannot be read back: take str, int"),
        (float, "float: float cannot be read back"),
        (timedelta, "timedelta cannot be read back"),
        (Literal["a"], "cannot be read back"),
        (dict[int, str], r"only dict\[str, X\] can"),
        (dict[str, float], "float cannot be read back"),
        (tuple[list[float], ...], "float cannot be read back"),
        (Derived, r"Derived\.value: a field with init=False"),
        (Incomparable, "without eq it cannot be compared"),
    ],
    ids=str,
)
def test_a_type_that_is_written_and_not_read_back_is_known(of, said):
    found = unreadable(of)
    assert found is not None
    assert re.search(said, found), found


@pytest.mark.parametrize(
    "of",
    [Node, UUID | None, Decimal, date, bool, list[str], dict[str, Node], Any, tuple[Loose, ...]],
    ids=str,
)
def test_a_type_that_is_read_back_is_accepted(of):
    assert unreadable(of) is None


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (list[str], "could be changed in place"),
        (dict[str, int] | None, "could be changed in place"),
        (tuple[Loose, ...], "Loose must be a frozen dataclass"),
        (Node, None),
    ],
    ids=str,
)
def test_what_could_be_changed_in_place_is_known(of, said):
    found = changeable(of)
    assert (found is None) if said is None else (said in str(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Command[tuple[int, str]]):
    name: ClassVar[str] = "orders.UnitAnswer"


def build_answer(state: State) -> Answer:
    return Answer()


@dataclass(frozen=True, kw_only=True, slots=True)
class Basket:
    holds: list[str] = field(default_factory=list)


def fill(state: Basket) -> Answer:
    return Answer()


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighed:
    grams: float = 0.0


def weigh(state: Weighed) -> Answer:
    return Answer()


def test_state_reply_and_payload_are_looked_at_when_they_are_imported():
    with pytest.raises(InvalidDefinition, match=r"state: Basket\.holds: .* tuple\[X, \.\.\.\]"):
        a_saga(retriable("fill", do=fill), state=Basket)
    with pytest.raises(InvalidDefinition, match=r"state: Weighed\.grams: float"):
        a_saga(retriable("weigh", do=weigh), state=Weighed)
    with pytest.raises(InvalidDefinition, match=r"step ask, reply of orders\.UnitAnswer: tuple"):
        a_saga(retriable("ask", do=build_answer))
    waits = wait_for("scales", signal=Weighed, within=timedelta(1), otherwise="go_on")
    with pytest.raises(InvalidDefinition, match=r"step scales, payload: Weighed\.grams: float"):
        a_saga(waits, retriable("ask", do=build_answer))


@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal


@dataclass(frozen=True)
class Bought:
    subject: UUID | None = None
    lines: tuple[Line, ...] = ()
    count: int = 0


WHOLE = Bought(subject=UUID(int=7), lines=(Line("a", Decimal("1.50")),), count=1)


def test_what_is_read_back_as_it_was_is_written():
    assert encode_as(Bought, WHOLE) == {
        "subject": "00000000-0000-0000-0000-000000000007",
        "lines": [{"sku": "a", "price": "1.50"}],
        "count": 1,
    }
    assert encode_as(Reply | None, None) is encode_as(type(None), None) is None
    assert encode_as(tuple[int, ...], (1, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (replace(WHOLE, subject=7), r"Bought\.subject: 7 is not a UUID, which could not be read"),
        (replace(WHOLE, subject=str(UUID(int=7))), r"Bought\.subject is '0.*' and would be read"),
        (replace(WHOLE, lines=list(WHOLE.lines)), r"Bought\.lines is \[Line"),
        (replace(WHOLE, count=True), r"Bought\.count: expected int, found True"),
        (replace(WHOLE, count=1.5), r"Bought\.count: float has no exact JSON form"),
        (replace(WHOLE, lines=(Line("a", 1.5),)), r"Bought\.lines: float has no exact JSON form"),
        (State(), "expected a Bought, found State"),
        (None, "expected a Bought, found None"),
    ],
)
def test_a_value_that_is_not_read_back_is_refused_by_the_name_of_its_field(value, said):
    with pytest.raises(CannotEncode, match=said):
        encode_as(Bought, value)


def test_what_is_no_dataclass_is_refused_as_well():
    with pytest.raises(CannotEncode, match=r"is \[7\] and would be read back as \(7,\)"):
        encode_as(tuple[int, ...], [7])
    with pytest.raises(CannotEncode, match="NoneType: expected NoneType, found 'text'"):
        encode_as(type(None), "text")


def test_a_definition_of_readable_types_is_accepted():
    assert isinstance(a_saga(), Saga)
