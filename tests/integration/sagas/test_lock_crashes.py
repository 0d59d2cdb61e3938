"""The places around a semantic lock: what is there when a process ends right at them."""

from collections import Counter

import pytest

from sagas import failpoints
from sagas.api import holder_of, uuid7
from sagas.core.keys import Direction
from sagas.failpoints import FailpointHit
from sagas.models import SagaInstance
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import locking
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.locking import CHANGE, RETURN, begin


@pytest.fixture
def fail_at(trial_saga, monkeypatch):
    """Arms one place in this process, for its first pass."""
    locking.register()
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


def rung(saga_id):
    return run_link(saga_id, 0, 1, Direction.DO, swept=True)


def free_in_the_row_alone(saga_id):
    """Let a saga look for its lock, as the sweeper does at its due time."""
    SagaInstance.objects.filter(id=saga_id).update(not_before=None)


@pytest.mark.parametrize("place", ["lock.before_commit", "lock.committed"])
def test_a_worker_that_dies_while_its_saga_looks_for_its_lock_leaves_it_to_the_next(
    broker, fail_at, place
):
    order_id = uuid7()
    first, second = begin(RETURN, order_id), begin(CHANGE, order_id)
    held = broker.take()
    free_in_the_row_alone(second)
    fail_at(place)
    with pytest.raises(FailpointHit):
        rung(second)
    assert row(second).waiting_for == f"lock:orders.order/{order_id}"
    for message in held:
        broker.run_chain(message)
    assert holder_of("orders.order", order_id).saga_id == second

    make_due(second)
    sweep()
    broker.drain()
    assert [row(saga).status for saga in (first, second)] == ["completed", "completed"]


def test_a_lock_whose_new_holder_is_not_rung_is_carried_on_by_the_sweeper(broker, fail_at):
    order_id = uuid7()
    first, second = begin(RETURN, order_id), begin(CHANGE, order_id)
    fail_at("lock.handed_on")
    broker.drain()
    assert row(first).status == "completed"
    assert (row(second).status, row(second).waiting_for) == ("running", None)
    assert holder_of("orders.order", order_id).saga_id == second

    make_due(second)
    assert sweep() == 1
    broker.drain()
    assert row(second).status == "completed"
