"""Two sagas of the tests' own that change an order: one that refuses to meet another, one waits."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sagas.api import Lock, Meeting, Saga, compensatable, retriable, start, transaction, uuid7
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


def register() -> None:
    for saga in (RETURN, CHANGE):
        if (saga.name, saga.version) not in registry.SAGAS:
            registry.add(saga)


def begin(saga, order_id, key=None, **options):
    """Start one in a committed transaction."""
    with transaction("orders"):
        return start(saga, ChangeState(order_id=order_id), key=key or str(uuid7()), **options)
