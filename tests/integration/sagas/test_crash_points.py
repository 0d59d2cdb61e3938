"""Places at which no test kills a process: what is there when the work ends right at them."""

from collections import Counter
from datetime import timedelta

import pytest

from sagas import clock, failpoints
from sagas.api import Cancellation, cancel, park, resume
from sagas.core.keys import Direction
from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter, OperatorAction, SagaInstance
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from sagas.outbox import dead_letters
from sagas.outbox.relay import relay
from sagas.outbox.republish import republish
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.news import Failing, a_teller, grow_old, inbox, listen, outbox, tell

pytestmark = pytest.mark.usefixtures("nobody_listens")


@pytest.fixture
def fail_at(monkeypatch):
    """Arms one place in this process, for its first pass."""
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


@pytest.fixture
def saga_id(broker):
    begun = trial.begin()
    broker.take()
    return begun


def brought_to_its_end(broker, saga_id):
    make_due(saga_id)
    assert sweep() == 1
    broker.drain()
    return row(saga_id).status


def test_a_cancel_that_dies_before_its_commit_may_be_asked_for_again(broker, saga_id, fail_at):
    fail_at("cancel.before_commit")
    with pytest.raises(FailpointHit):
        cancel(saga_id, reason="no", by="alice")
    assert (row(saga_id).status, row(saga_id).fencing_token) == ("running", 0)

    assert cancel(saga_id, reason="no", by="alice") is Cancellation.ACCEPTED
    broker.drain()
    assert row(saga_id).status == "compensated"


def test_a_cancel_that_dies_after_its_commit_is_carried_out_by_the_sweeper(
    broker, saga_id, fail_at
):
    fail_at("cancel.committed")
    assert cancel(saga_id, reason="no", by="alice") is Cancellation.ACCEPTED
    assert broker.take() == []

    assert brought_to_its_end(broker, saga_id) == "compensated"


@pytest.mark.parametrize("who", ["sweeper", "worker"])
def test_a_deadline_whose_messenger_dies_is_carried_out_by_the_next_sweep(
    broker, saga_id, fail_at, who
):
    fail_at("deadline.committed")
    clock.travel(timedelta(minutes=6))
    if who == "sweeper":
        SagaInstance.objects.filter(id=saga_id).update(due_at=clock.real())
    with pytest.raises(FailpointHit):
        sweep() if who == "sweeper" else run_link(saga_id, 1, 4, Direction.DO)
    assert (row(saga_id).status, broker.take()) == ("compensating", [])

    assert brought_to_its_end(broker, saga_id) == "compensated"


def test_an_act_that_dies_before_its_commit_leaves_neither_act_nor_record(saga_id, fail_at):
    fail_at("act.before_commit/park")
    with pytest.raises(FailpointHit):
        park(saga_id, by="bob", reason="look")

    assert row(saga_id).parked_at is None
    assert OperatorAction.objects.count() == 0


def test_an_act_that_dies_after_its_commit_is_carried_out_by_the_sweeper(broker, saga_id, fail_at):
    park(saga_id, by="bob", reason="look")
    fail_at("act.committed/resume")
    assert resume(saga_id, by="bob", reason="looked") is True
    assert broker.take() == []

    assert brought_to_its_end(broker, saga_id) == "completed"


@pytest.mark.parametrize(
    ("place", "letters"), [("letter.before_commit", 0), ("letter.committed", 1)]
)
def test_a_handlers_fault_is_noted_or_met_again(broker, fail_at, place, letters):
    listen("billing", Failing(a=1))
    [event_id] = tell(a_teller(), "a")
    relay()
    fail_at(place)
    [message] = [message for message in broker.take() if message.task == "sagas.deliver"]
    with pytest.raises(FailpointHit):
        broker.run_chain(message)
    assert (DeadLetter.objects.count(), inbox()) == (letters, [])

    grow_old()
    republish()
    broker.drain()
    assert [str(applied) for applied in inbox()] == [event_id]


def test_an_operators_resend_that_dies_after_its_commit_goes_out_with_the_next_tick(
    broker, fail_at
):
    listen("billing", Failing(a=1))
    tell(a_teller(), "a")
    relay()
    broker.drain()
    letter = DeadLetter.objects.get()
    fail_at("act.committed/resend")
    assert dead_letters.resend(letter.id, by="bob", reason="mended") is True
    assert broker.take() == []

    assert dead_letters.retry_due() == 1
    broker.drain()
    assert len(inbox()) == 1


def test_a_comparison_that_dies_after_it_delivered_settles_the_next_time(broker, fail_at):
    listen()
    [event_id] = tell(a_teller(), "a")
    relay()
    broker.drain()
    grow_old()
    fail_at("republish.delivered")
    with pytest.raises(FailpointHit):
        republish()
    assert outbox(event_id=event_id).settled_at is None

    assert republish() == 0
    assert outbox(event_id=event_id).settled_at is not None
