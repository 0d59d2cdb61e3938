"""The places around a wait and a signal: what is there when a process ends right at them."""

from collections import Counter

import pytest

from sagas import failpoints
from sagas.api import Signaled, signal, transaction
from sagas.failpoints import FailpointHit
from sagas.models import Signal
from sagas.orchestration.sweep import sweep
from sagas.transactions import is_detached
from tests.integration.sagas import trial, waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.waiting import Approved


@pytest.fixture
def fail_at(monkeypatch):
    """Arms one place in this process, for its first pass."""
    waiting.register()
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


def approve(saga_id):
    return signal(saga_id, "approve", Approved(by="alice"), key="1")


def swept(broker, saga_id):
    make_due(saga_id)
    assert sweep() == 1
    return broker.drain()


def test_a_worker_that_dies_while_its_saga_falls_asleep_leaves_it_to_the_next(broker, fail_at):
    fail_at("wait.before_commit/approve")
    saga_id = waiting.begin()
    broker.drain()
    assert (row(saga_id).waiting_for, row(saga_id).wait_until) == (None, None)

    assert swept(broker, saga_id) == ["ignored"]
    assert row(saga_id).waiting_for == "signal:approve"


def test_a_worker_that_dies_when_its_saga_sleeps_has_lost_nothing(broker, fail_at):
    fail_at("wait.committed/approve")
    saga_id = waiting.begin()
    with pytest.raises(FailpointHit):
        broker.drain()
    assert (row(saga_id).waiting_for, row(saga_id).leased_until) == ("signal:approve", None)

    assert approve(saga_id) is Signaled.DELIVERED
    broker.drain()
    assert row(saga_id).status == "completed"


def test_a_signal_that_dies_before_its_commit_may_be_sent_again(broker, fail_at):
    fail_at("signal.before_commit/approve")
    saga_id = waiting.begin()
    broker.drain()
    with pytest.raises(FailpointHit):
        approve(saga_id)
    assert Signal.objects.count() == 0
    assert row(saga_id).not_before is not None

    assert approve(saga_id) is Signaled.DELIVERED


@pytest.mark.parametrize("context", [None, "payments"])
def test_a_signal_whose_bell_is_lost_is_carried_on_by_the_sweeper(broker, fail_at, context):
    fail_at("signal.committed/approve")
    saga_id = waiting.begin()
    broker.drain()
    if context:
        with transaction(context):
            answer = approve(saga_id)
    else:
        answer = approve(saga_id)
    asked = context is not None and is_detached(context)
    assert answer is (Signaled.ASKED if asked else Signaled.DELIVERED)
    assert broker.take() == []

    assert swept(broker, saga_id) == ["passed"]
    assert trial.effects() == ["take", "book"]
