"""Sagas of the tests' own that change an order: one refuses to meet another, the others wait."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sagas.api import (
    Lock,
    Meeting,
    Saga,
    child,
    compensatable,
    retriable,
    start,
    transaction,
    uuid7,
)
from sagas.orchestration import registry
from tests.integration.sagas.trial import Book, PutBack, Take


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeState:
    order_id: UUID


def build_take(state: ChangeState) -> Take:
    return Take()


def build_put_back(state: ChangeState) -> PutBack:
    return PutBack()


def build_book(state: ChangeState) -> Book:
    return Book()


def the_order(state: ChangeState) -> tuple[str, UUID]:
    return "orders.order", state.order_id


STEPS = (
    compensatable("take", do=build_take, undo=build_put_back),
    retriable("book", do=build_book, skippable=True),
)
RETURN = Saga(
    name="orders.return",
    version=1,
    state=ChangeState,
    deadline=timedelta(hours=1),
    steps=STEPS,
    lock=Lock(on=the_order),
)
CHANGE = Saga(
    name="orders.change",
    version=1,
    state=ChangeState,
    deadline=timedelta(hours=1),
    steps=STEPS,
    lock=Lock(on=the_order, meeting=Meeting.WAIT),
)


# -- one that has an order, and whose child of retriable steps wants another one -------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerState:
    has: UUID
    wants: UUID


def owned(state: OwnerState) -> tuple[str, UUID]:
    return "orders.order", state.has


def errand_of(state: OwnerState) -> ChangeState:
    return ChangeState(order_id=state.wants)


def key_of_errand(state: OwnerState) -> str:
    return f"of {state.has}"


def undo_errand(state: OwnerState) -> PutBack:
    return PutBack()


def book_too(state: OwnerState) -> Book:
    return Book()


ERRAND = Saga(
    name="orders.errand",
    version=1,
    state=ChangeState,
    deadline=timedelta(hours=1),
    steps=(retriable("book", do=build_book),),
    lock=Lock(on=the_order, meeting=Meeting.WAIT),
)
OWNER = Saga(
    name="orders.owner",
    version=1,
    state=OwnerState,
    deadline=timedelta(hours=2),
    steps=(
        child("errand", of=ERRAND, start=errand_of, key=key_of_errand, undo=undo_errand),
        retriable("last", do=book_too),
    ),
    lock=Lock(on=owned, meeting=Meeting.WAIT),
)


def begin_owner(has: UUID, wants: UUID) -> UUID:
    with transaction("orders"):
        return start(OWNER, OwnerState(has=has, wants=wants), key=str(has))


def register() -> None:
    for saga in (RETURN, CHANGE, ERRAND, OWNER):
        if (saga.name, saga.version) not in registry.SAGAS:
            registry.add(saga)


def begin(saga, order_id, key=None, **options):
    """Start one in a committed transaction."""
    with transaction("orders"):
        return start(saga, ChangeState(order_id=order_id), key=key or str(uuid7()), **options)
