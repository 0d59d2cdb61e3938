"""Sagas of the tests' own that wait: for an approval, for a time."""

from dataclasses import dataclass, replace
from datetime import timedelta

from sagas.api import (
    Saga,
    compensatable,
    retriable,
    sleep,
    start,
    transaction,
    uuid7,
    wait_for,
)
from sagas.orchestration import registry
from tests.integration.sagas.trial import Book, PutBack, Take


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


def register() -> None:
    for saga in (LISTENING, PATIENT, SLEEPY, REVERSIBLE):
        if (saga.name, saga.version) not in registry.SAGAS:
            registry.add(saga)


def begin(saga=LISTENING, **state):
    """Start one in a committed transaction."""
    saga_id = uuid7()
    with transaction("orders"):
        return start(saga, ListenState(**state), key=str(saga_id), saga_id=saga_id)
