"""What must hold of the time of a saga that is parked."""

import time
from datetime import timedelta

import pytest

from sagas import clock
from sagas.api import Lock, Meeting, Saga, park, retriable, start, transaction, uuid7
from sagas.orchestration import registry
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import locking, waiting
from tests.integration.sagas.conftest import row
from tests.integration.sagas.locking import ChangeState, begin, build_book, the_order

HOLDER = locking.RETURN
WAITER = Saga(
    name="orders.broken_waiter",
    version=1,
    state=ChangeState,
    deadline=timedelta(hours=1),
    steps=(retriable("book", do=build_book),),
    lock=Lock(on=the_order, meeting=Meeting.WAIT),
)

BRIEF = Saga(
    name="orders.broken_brief",
    version=1,
    state=waiting.ListenState,
    deadline=timedelta(seconds=1),
    steps=(waiting.taking(),),
)


@pytest.fixture(autouse=True)
def locking_sagas(trial_saga):
    locking.register()
    waiting.register()
    for saga in (WAITER, BRIEF):
        if (saga.name, 1) not in registry.SAGAS:
            registry.add(saga)


@pytest.mark.parametrize("parked", [False, True])
def test_the_deadline_turns_a_waiter_of_retriable_steps_round_also_when_it_is_parked(
    broker, parked
):
    order_id = uuid7()
    begin(HOLDER, order_id)
    saga_id = begin(WAITER, order_id)
    broker.take()
    if parked:
        assert park(saga_id, by="alice", reason="looking at it")
    clock.travel(timedelta(hours=2))
    for _ in range(3):
        sweep()
        broker.take()

    assert row(saga_id).status == "compensating"
    assert row(saga_id).failure == "deadline"


def test_a_parked_saga_is_turned_round_at_its_deadline_although_the_clock_was_moved_before(broker):
    clock.travel(timedelta(days=1))
    with transaction("orders"):
        saga_id = start(BRIEF, waiting.ListenState(), key=str(uuid7()))
    broker.take()
    assert park(saga_id, by="alice", reason="looking at it")
    time.sleep(1.5)  # its deadline is over, in real time as in business time
    sweep()

    assert row(saga_id).deadline_at < clock.now()
    assert row(saga_id).status == "compensating"
