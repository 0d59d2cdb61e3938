"""Commands, states and builders for definitions that are right, so that a test spoils one thing."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from sagas.api import Command, Saga, begun, compensatable, pivot, retriable


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherState:
    number: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Do(Command[Reply]):
    name: ClassVar[str] = "orders.UnitDo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Undo(Command[None]):
    name: ClassVar[str] = "orders.UnitUndo"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignUndo(Command[None]):
    name: ClassVar[str] = "billing.UnitUndo"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweringUndo(Command[Reply]):
    name: ClassVar[str] = "orders.UnitAnsweringUndo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Nameless(Command[None]):
    pass


def build_do(state: State) -> Do:
    return Do()


def build_undo(state: State) -> Undo:
    return Undo()


def build_foreign_undo(state: State) -> ForeignUndo:
    return ForeignUndo()


def build_answering_undo(state: State) -> AnsweringUndo:
    return AnsweringUndo()


def build_nameless(state: State) -> Nameless:
    return Nameless()


def keep(state: State, reply: Reply) -> State:
    return State(number=reply.number)


def opened(name="open", undo=build_undo):
    return begun(name, undo=undo)


def backable(name="reserve", do=build_do, undo=build_undo, **more):
    return compensatable(name, do=do, undo=undo, **more)


def deciding(name="pay", do=build_do, **more):
    return pivot(name, do=do, **more)


def ahead(name="tell", do=build_do, **more):
    return retriable(name, do=do, **more)


def a_saga(*steps, **changed):
    facts = {
        "name": "orders.unit",
        "version": 1,
        "state": State,
        "deadline": timedelta(minutes=1),
        "steps": steps or (opened(), backable(), deciding(), ahead()),
    }
    return Saga(**{**facts, **changed})
