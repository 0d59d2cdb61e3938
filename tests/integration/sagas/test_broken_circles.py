"""What must hold of sagas whose children want each other's aggregates."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from sagas import clock
from sagas.api import Lock, Meeting, Saga, cancel, child, compensate, retriable, start, transaction, uuid7
from sagas.models import SagaInstance
from sagas.orchestration import registry
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.trial import Book, PutBack


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrandState:
    wants: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnerState:
    has: UUID
    wants: UUID


def build_book(state: ErrandState) -> Book:
    return Book()


def build_book_too(state: OwnerState) -> Book:
    return Book()


def build_put_back(state: OwnerState) -> PutBack:
    return PutBack()


def wanted(state: ErrandState) -> tuple[str, UUID]:
    return "orders.order", state.wants


def owned(state: OwnerState) -> tuple[str, UUID]:
    return "orders.order", state.has


def errand_of(state: OwnerState) -> ErrandState:
    return ErrandState(wants=state.wants)


def key_of(state: OwnerState) -> str:
    return f"of {state.has}"


ERRAND = Saga(
    name="orders.broken_errand",
    version=1,
    state=ErrandState,
    deadline=timedelta(hours=1),
    steps=(retriable("book", do=build_book),),
    lock=Lock(on=wanted, meeting=Meeting.WAIT),
)
OWNER = Saga(
    name="orders.broken_owner",
    version=1,
    state=OwnerState,
    deadline=timedelta(hours=2),
    steps=(
        child("errand", of=ERRAND, start=errand_of, key=key_of, undo=build_put_back),
        retriable("last", do=build_book_too),
    ),
    lock=Lock(on=owned, meeting=Meeting.WAIT),
)


@pytest.fixture
def circle(broker):
    """Two that have an aggregate each, and whose children wait for that of the other."""
    if (OWNER.name, 1) not in registry.SAGAS:
        registry.add(OWNER)
    orders = uuid7(), uuid7()
    owners = []
    for has, wants in (orders, orders[::-1]):
        with transaction("orders"):
            owners.append(start(OWNER, OwnerState(has=has, wants=wants), key=str(has)))
    broker.drain()
    assert [row(each).waiting_for for each in owners] == ["child:errand"] * 2
    return owners


def children():
    return list(SagaInstance.objects.filter(parent_id__isnull=False).values_list("id", flat=True))


def settle(broker):
    for _ in range(8):
        for unfinished in SagaInstance.objects.filter(finished_at=None):
            make_due(unfinished.id)
        sweep()
        broker.drain()


def test_a_circle_of_children_that_wait_for_a_lock_is_broken_by_a_deadline(broker, circle):
    assert trial.effects() == []
    clock.travel(timedelta(hours=3))
    settle(broker)

    # Nothing has been done by anybody, and both are before their point of no return.
    assert [row(each).failure for each in circle] == ["deadline"] * 2
    assert [row(each).status for each in circle] == ["compensated"] * 2


def test_a_circle_of_children_that_wait_for_a_lock_can_be_broken_by_an_operator(broker, circle):
    cancel(circle[0], reason="changed my mind", by="customer")
    settle(broker)
    for each in (*children(), *circle):
        compensate(each, by="alice", reason="they wait for each other")
    settle(broker)

    assert [row(each).finished_at is not None for each in circle] == [True] * 2
