"""Sagas that this release of the code cannot read, or that break the worker that tries."""

from datetime import timedelta

import pytest
from django.db import OperationalError

from sagas.api import Unknown, resume
from sagas.models import SagaInstance, StepFault
from sagas.orchestration import stops
from sagas.orchestration.branches import run_branch
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.watching import branch


@pytest.mark.parametrize(
    "state",
    [{"subject": "no uuid"}, {}, {"subject": None, "more": 1}, [], 7],
    ids=["wrong type", "missing", "unknown field", "list", "number"],
)
def test_a_state_that_cannot_be_read_is_a_fault_and_parks_in_the_end(broker, settings, state):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    saga_id = trial.begin()
    SagaInstance.objects.filter(id=saga_id).update(state=state)
    broker.drain()
    fault = StepFault.objects.get(saga_id=saga_id)
    assert "CannotDecode: TrialState" in fault.error
    make_due(saga_id)
    sweep()
    broker.drain()

    assert "CannotDecode" in row(saga_id).parked_reason
    assert trial.effects() == []
    SagaInstance.objects.filter(id=saga_id).update(state={"subject": str(saga_id)})
    resume(saga_id, by="alice", reason="state mended")
    broker.drain()
    assert row(saga_id).status == "completed"


def test_a_fault_of_the_database_in_a_step_is_a_fault_like_any_other(broker):
    trial.SCRIPT["take"] = raising(OperationalError("deadlock detected"))
    saga_id = trial.begin()
    broker.drain()
    make_due(saga_id)
    sweep()
    broker.drain()

    assert row(saga_id).status == "completed"
    assert trial.effects().count("take") == 1


def test_a_message_for_a_saga_that_was_never_committed_changes_nothing(broker):
    saga_id = trial.begin()
    [message] = broker.take()
    SagaInstance.objects.filter(id=saga_id).delete()

    assert broker.run_chain(message) == "ignored"
    assert trial.effects() == []


@pytest.mark.parametrize("place", ["intend_hold", "hold", "record_hold"])
@pytest.mark.parametrize("kind", [RuntimeError, Unknown])
def test_a_remote_step_is_repeated_from_wherever_it_broke(broker, place, kind):
    trial.SCRIPT[place] = raising(kind("broken"))
    saga_id = trial.begin()
    broker.drain()
    assert row(saga_id).status == "running"
    assert StepFault.objects.get().kind == ("unknown" if kind is Unknown else "fault")
    make_due(saga_id)
    sweep()
    broker.drain()

    assert row(saga_id).status == "completed"
    assert trial.effects() == ["take", "hold", "capture", "book"]
    assert trial.CALLS.count("hold") == (1 if place == "intend_hold" else 2)


def test_a_parked_saga_that_was_stopped_for_its_faults_has_all_attempts_again(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    trial.SCRIPT["take"] = raising(RuntimeError("one"), RuntimeError("two"))
    saga_id = trial.begin()
    broker.drain()
    until_due = abs(row(saga_id).due_at - row(saga_id).deadline_at)
    assert until_due < timedelta(seconds=10), "it stays visible for its deadline"
    stops.resume(saga_id)

    assert row(saga_id).attempts == 0
    make_due(saga_id)
    sweep()
    broker.drain()
    assert "two" in row(saga_id).parked_reason


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("it says nothing")


UNSTORABLE = {
    "zero byte": (ValueError("a\x00b"), r"ValueError: a\x00b"),
    "lone surrogate": (ValueError("caf\udce9"), r"ValueError: caf\udce9"),
    "no text": (Mute(), "Mute: <its text failed: RuntimeError>"),
}


@pytest.mark.parametrize(("error", "told"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_a_fault_whose_text_cannot_be_stored_is_a_fault_all_the_same(broker, error, told):
    trial.SCRIPT["take"] = raising(error)
    saga_id = trial.begin()
    broker.drain()

    assert StepFault.objects.get(saga_id=saga_id).error == told
    assert row(saga_id).leased_until is None


def test_a_fault_of_a_branch_whose_text_cannot_be_stored_is_one_all_the_same(broker, group):
    trial.SCRIPT["pack"] = raising(ValueError("a\x00b\udce9"))
    run_branch(group, fan.PACK)

    assert StepFault.objects.get(saga_id=group).error == r"ValueError: a\x00b\udce9"
    assert branch(group, fan.PACK).leased_until is None
