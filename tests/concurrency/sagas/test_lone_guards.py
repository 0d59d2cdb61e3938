"""Guards that no scenario of another file needs, each with a scenario of its own."""

import dataclasses
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sagas import clock
from sagas.api import Rejected, park, resume, transaction
from sagas.core.keys import Direction
from sagas.ids import uuid7
from sagas.models import SemanticLock
from sagas.orchestration import (
    branch_rows,
    branch_stops,
    handlers,
    locks,
    registry,
    store,
    sweep,
    versions,
    work,
)
from sagas.orchestration.executor import run_link
from sagas.outbox import republish
from sagas.outbox.relay import relay_batch
from sagas.transactions import InsideTransaction, connection_of
from tests.integration.sagas import fan, locking, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.news import a_teller, listen, outbox, tell
from tests.integration.sagas.watching import branch, make_branches_due
from tests.together import together


def test_travelling_leaves_a_saga_with_its_worker(broker):
    saga_id = trial.begin()
    store.claim(saga_id, status="running", low=1, high=4)
    before = row(saga_id).due_at

    clock.travel(timedelta(hours=1))

    assert row(saga_id).due_at == before


def test_travelling_leaves_an_ended_saga_alone(broker):
    saga_id = trial.begin()
    broker.drain()
    assert row(saga_id).status == "completed"

    clock.travel(timedelta(hours=1))

    assert row(saga_id).due_at is None


def test_parking_a_saga_that_has_ended_is_answered_with_no(broker):
    saga_id = trial.begin()
    broker.drain()

    assert park(saga_id, by="alice", reason="stop") is False


@pytest.mark.usefixtures("nobody_listens")
def test_a_relay_does_not_wait_for_an_event_that_another_one_takes(broker):
    listen()
    teller = a_teller()
    first, _ = tell(teller, "a", "b")
    connection = connection_of("orders")
    connection.ensure_connection()
    with connection.connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM orders_outbox WHERE id = %s FOR UPDATE", [first])

        assert together(lambda: relay_batch("orders")) == [1]


def test_parking_a_parked_saga_keeps_the_first_reason(broker):
    saga_id = trial.begin()
    park(saga_id, by="alice", reason="first")

    assert park(saga_id, by="bob", reason="second") is False
    assert row(saga_id).parked_reason == "first"


def test_a_sweeper_that_comes_late_puts_no_resumed_saga_to_rest(broker):
    saga_id = trial.begin()
    before = row(saga_id).due_at

    sweep._wait_for_deadline(saga_id)

    assert row(saga_id).due_at == before


@pytest.fixture
def overtaken(broker):
    """A claim whose lease has run out, and the saga in the hands of another worker."""
    saga_id = trial.begin()
    claimed = store.claim(saga_id, status="running", low=1, high=4)
    make_due(saga_id)
    assert store.claim(saga_id, status="running", low=1, high=4) is not None
    return claimed


def test_who_leaves_a_saga_too_late_leaves_it_with_its_next_worker(overtaken):
    before = row(overtaken.saga_id)

    versions.leave(overtaken, registry.UnknownSaga("gone"))

    after = row(overtaken.saga_id)
    assert (after.leased_until, after.attempts) == (before.leased_until, before.attempts)


def test_resuming_a_saga_that_is_not_parked_is_answered_with_no(broker):
    saga_id = trial.begin()

    assert resume(saga_id, by="alice", reason="go") is False
    assert row(saga_id).fencing_token == 0


def test_a_no_before_the_call_of_a_pivot_turns_nothing_round(broker, monkeypatch):
    """An earlier attempt may have called already."""

    def refuse(command):
        raise Rejected("not now")

    saga_id = trial.begin()
    capture = handlers.HANDLERS[trial.Capture.name]
    monkeypatch.setitem(
        handlers.HANDLERS, trial.Capture.name, dataclasses.replace(capture, intent=refuse)
    )

    run_link(saga_id, 1, 4, Direction.DO)

    assert (row(saga_id).status, row(saga_id).cursor) == ("running", 3)


def test_no_call_is_made_while_a_transaction_is_open(broker):
    with transaction("orders"), pytest.raises(InsideTransaction):
        work.call_out(SimpleNamespace(place="hold"), lambda *_: "called", None, None)


def test_who_leaves_a_branch_too_late_leaves_it_with_its_next_worker(broker):
    fan.register()
    saga_id = fan.begin()
    run_link(saga_id, 0, 0, Direction.DO)
    claimed = branch_rows.claim(saga_id, fan.PACK)
    make_branches_due(saga_id)
    assert branch_rows.claim(saga_id, fan.PACK).attempts == 2
    before = branch(saga_id, fan.PACK).leased_until

    branch_stops.leave(claimed)

    after = branch(saga_id, fan.PACK)
    assert (after.leased_until, after.attempts) == (before, 2)


@pytest.mark.usefixtures("nobody_listens")
def test_an_event_is_settled_once(broker):
    tell(a_teller(), "a")
    event = outbox().get()
    republish._settle("orders", [event.position])
    first = outbox().get().settled_at

    republish._settle("orders", [event.position])

    assert first is not None
    assert outbox().get().settled_at == first


@pytest.mark.parametrize("is_free", [True, False])
def test_who_asks_for_a_lock_too_late_changes_nothing(broker, is_free):
    locking.register()
    order_id = uuid7()
    locking.begin(locking.CHANGE, order_id)
    waiter = locking.begin(locking.CHANGE, order_id)
    make_due(waiter)
    claimed = store.claim(waiter, status="running", low=0, high=1)
    make_due(waiter)
    assert store.claim(waiter, status="running", low=0, high=1) is not None
    if is_free:
        SemanticLock.objects.all().delete()

    with pytest.raises(store.StaleFencingToken):
        locks.obtain(claimed)

    assert row(waiter).leased_until is not None
