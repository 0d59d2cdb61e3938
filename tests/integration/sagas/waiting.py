"""Sagas of the tests' own that wait: for an approval, for a time."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from sagas.api import (
    Command,
    Saga,
    child,
    compensatable,
    handles,
    retriable,
    sleep,
    start,
    transaction,
    uuid7,
    wait_for,
)
from sagas.orchestration import registry
from tests.integration.sagas.trial import Book, Held, Hold, PutBack, Release, Take, act, take_effect


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenState:
    patience: int = 3600
    approved_by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Approved:
    by: str
    limit: int = 0


def build_take(state: ListenState) -> Take:
    return Take()


def build_put_back(state: ListenState) -> PutBack:
    return PutBack()


def build_book(state: ListenState) -> Book:
    return Book()


def patience(state: ListenState) -> timedelta:
    return timedelta(seconds=state.patience)


def keep_approval(state: ListenState, approved: Approved) -> ListenState:
    return replace(state, approved_by=approved.by)


def taking():
    return compensatable("take", do=build_take, undo=build_put_back)


def booking():
    return retriable("book", do=build_book)


LISTENING = Saga(
    name="orders.listening",
    version=1,
    state=ListenState,
    deadline=timedelta(days=2),
    steps=(
        taking(),
        wait_for("approve", signal=Approved, within=patience, keep=keep_approval),
        booking(),
    ),
)
PATIENT = Saga(
    name="orders.patient",
    version=1,
    state=ListenState,
    deadline=timedelta(days=2),
    steps=(
        taking(),
        wait_for(
            "approve", signal=Approved, within=patience, keep=keep_approval, otherwise="go_on"
        ),
        booking(),
    ),
)
SLEEPY = Saga(
    name="orders.sleepy",
    version=1,
    state=ListenState,
    deadline=timedelta(days=2),
    steps=(taking(), sleep("cool_off", lasts=patience), booking()),
)
REVERSIBLE = Saga(
    name="orders.reversible",
    version=1,
    state=ListenState,
    deadline=timedelta(days=2),
    steps=(
        taking(),
        sleep("cool_off", lasts=timedelta(hours=1)),
        compensatable("more", do=build_take, undo=build_put_back),
        wait_for("approve", signal=Approved, within=patience),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrandState:
    subject: UUID
    hold: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentState:
    subject: UUID
    key: str
    hold: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Go:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class Return(Command[None]):
    name: ClassVar[str] = "orders.TrialReturn"
    hold: str


@handles(Return)
def give_back(command: Return) -> None:
    """Safe to repeat: the test counts."""
    act("return")
    take_effect(f"return {command.hold}")


def build_hold(state: ErrandState) -> Hold:
    return Hold(subject=state.subject)


def build_release(state: ErrandState) -> Release:
    return Release()


def keep_hold(state: ErrandState, reply: Held) -> ErrandState:
    return replace(state, hold=reply.hold)


def start_errand(state: ParentState) -> ErrandState:
    return ErrandState(subject=state.subject)


def key_of_errand(state: ParentState) -> str:
    return state.key


def keep_errand(state: ParentState, errand: ErrandState) -> ParentState:
    return replace(state, hold=errand.hold)


def build_return(state: ParentState) -> Return:
    assert state.hold is not None
    return Return(hold=state.hold)


def build_parents_take(state: ParentState) -> Take:
    return Take()


def build_parents_put_back(state: ParentState) -> PutBack:
    return PutBack()


def build_parents_book(state: ParentState) -> Book:
    return Book()


ERRAND = Saga(
    name="payments.errand",
    version=1,
    state=ErrandState,
    deadline=timedelta(days=2),
    steps=(
        compensatable("hold", do=build_hold, undo=build_release, keep=keep_hold),
        wait_for("go", signal=Go, within=timedelta(hours=1)),
    ),
)
PARENT = Saga(
    name="orders.parent",
    version=1,
    state=ParentState,
    deadline=timedelta(days=2),
    steps=(
        compensatable("take", do=build_parents_take, undo=build_parents_put_back),
        child(
            "errand",
            of=ERRAND,
            start=start_errand,
            key=key_of_errand,
            undo=build_return,
            keep=keep_errand,
        ),
        wait_for("approve", signal=Go, within=timedelta(hours=1)),
        retriable("book", do=build_parents_book),
    ),
)


def begin_parent(key: str | None = None):
    """Start one that will send a child."""
    saga_id = uuid7()
    with transaction("orders"):
        return start(
            PARENT,
            ParentState(subject=saga_id, key=key or f"of {saga_id}"),
            key=str(saga_id),
            saga_id=saga_id,
        )


def register() -> None:
    for saga in (LISTENING, PATIENT, SLEEPY, REVERSIBLE, PARENT):
        if (saga.name, saga.version) not in registry.SAGAS:
            registry.add(saga)


def begin(saga=LISTENING, **state):
    """Start one in a committed transaction."""
    saga_id = uuid7()
    with transaction("orders"):
        return start(saga, ListenState(**state), key=str(saga_id), saga_id=saga_id)
