"""Starting a saga, stopping it from outside, and what is kept of it."""

import pytest

from sagas import correlation
from sagas.api import (
    Cancellation,
    NoSuchSaga,
    OutsideTransaction,
    ReasonMissing,
    Rejected,
    UnfitText,
    cancel,
    compensate,
    current_run,
    park,
    resume,
    saga_status,
    skip,
    start,
    transaction,
    uuid7,
)
from sagas.models import OperatorAction, SagaInstance, StepFault
from sagas.orchestration import canvas, registry
from sagas.orchestration.orchestrator import ForeignSaga
from sagas.orchestration.run import NotInAStep
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising


def state():
    return trial.TrialState(subject=uuid7())


def test_a_saga_starts_only_inside_a_transaction(broker):
    with pytest.raises(OutsideTransaction):
        start(trial.TRIAL, state(), key="k")
    assert SagaInstance.objects.count() == 0


def test_a_saga_starts_only_in_its_own_context(broker):
    """Its first step is done by the transaction that starts it: elsewhere nobody would undo it."""
    with pytest.raises(ForeignSaga, match=r"orders\.trial"), transaction("billing"):
        start(trial.TRIAL, state(), key="k")
    assert SagaInstance.objects.count() == 0


def test_a_saga_whose_transaction_is_rolled_back_never_was(broker):
    class Abandoned(Exception):
        pass

    def place():
        with transaction("orders"):
            start(trial.TRIAL, state(), key="k")
            raise Abandoned

    with pytest.raises(Abandoned):
        place()
    assert SagaInstance.objects.count() == 0
    assert broker.take() == []


def test_a_definition_that_is_not_registered_does_not_start(broker, monkeypatch):
    monkeypatch.setattr(registry, "SAGAS", {})

    with pytest.raises(registry.UnknownSaga), transaction("orders"):
        start(trial.TRIAL, state(), key="k")


def test_the_second_start_under_a_key_rings_nothing(broker):
    first = trial.begin("order-1")
    broker.take()

    assert trial.begin("order-1") == first
    assert broker.take() == []


def test_a_saga_goes_on_under_the_correlation_of_its_start(broker, monkeypatch):
    seen = []
    trial.SCRIPT["take"] = lambda: seen.append((correlation.current(), current_run()))
    given = correlation.begin(correlation_id="click")
    with correlation.correlated(given):
        saga_id = trial.begin()
    broker.drain()

    [(found, run)] = seen
    assert (found.correlation_id, found.traceparent) == ("click", given.traceparent)
    assert found.causation_id == str(saga_id)
    assert (run.saga_id, run.step, run.step_no, run.attempts) == (saga_id, "take", 1, 1)
    assert run.effect_key == f"{saga_id}:take:do"
    with pytest.raises(NotInAStep):
        current_run()


def test_a_saga_without_a_correlation_gets_one_trace_and_keeps_it(broker, monkeypatch):
    sent = []
    monkeypatch.setattr(canvas, "publish", lambda _, **options: bool(sent.append(options)) or True)
    saga_id = trial.begin()

    assert sent == [{"headers": {"traceparent": row(saga_id).traceparent}}]


# -- attempts --------------------------------------------------------------------------------------


def test_the_first_fault_of_a_step_is_its_first_attempt_wherever_the_link_began(broker):
    """The second step of a link runs under the claim of the first."""
    trial.SCRIPT["hold"] = raising(RuntimeError("one"), RuntimeError("two"))
    saga_id = trial.begin()
    broker.drain()
    assert (row(saga_id).cursor, row(saga_id).attempts) == (2, 1)
    make_due(saga_id)
    sweep()
    broker.drain()

    faults = StepFault.objects.filter(saga_id=saga_id).order_by("at")
    assert list(faults.values_list("attempt", flat=True)) == [1, 2]
    assert row(saga_id).attempts == 2


@pytest.mark.parametrize("step", ["take", "hold"])
def test_a_step_has_as_many_attempts_as_it_is_allowed(broker, settings, step):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 3}
    trial.SCRIPT[step] = raising(*[RuntimeError("down")] * 9)
    saga_id = trial.begin()
    for _ in range(9):
        broker.drain()
        if row(saga_id).parked_at:
            break
        make_due(saga_id)
        sweep()

    assert StepFault.objects.filter(saga_id=saga_id).count() == 3
    assert "3 attempts" in row(saga_id).parked_reason


# -- what a page shows -----------------------------------------------------------------------------


def test_the_view_follows_a_saga_through_a_fault_to_its_end(broker):
    trial.SCRIPT["hold"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    assert (saga_status(saga_id).status, saga_status(saga_id).step) == ("running", "take")
    broker.drain()
    view = saga_status(saga_id)
    assert (view.step, view.attempts, view.last_fault_kind) == ("hold", 1, "fault")
    assert view.next_at == row(saga_id).not_before
    make_due(saga_id)
    sweep()
    broker.drain()

    view = saga_status(saga_id)
    assert (view.status, view.step, view.last_fault_kind) == ("completed", None, None)
    assert view.finished_at is not None


def test_the_fault_of_the_way_forward_is_not_shown_on_the_way_back(broker):
    trial.SCRIPT["hold"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    broker.drain()
    cancel(saga_id, reason="no", by="alice")
    trial.SCRIPT["release"] = raising(*[RuntimeError("stuck")] * 9)
    assert saga_status(saga_id).last_fault_kind is None
    SagaInstance.objects.filter(id=saga_id).update(cursor=2)

    assert saga_status(saga_id).step == "hold"
    assert saga_status(saga_id).last_fault_kind is None
    broker.drain()
    make_due(saga_id)
    sweep()
    broker.drain()
    assert saga_status(saga_id).last_fault_kind == "fault"


def test_there_is_no_view_of_what_never_was():
    with pytest.raises(NoSuchSaga):
        saga_status(uuid7())
    with pytest.raises(NoSuchSaga):
        cancel(uuid7(), reason="no", by="alice")


# -- operators -------------------------------------------------------------------------------------


def test_an_operator_parks_and_resumes_with_reasons_that_are_kept(broker):
    saga_id = trial.begin()
    broker.take()
    assert park(saga_id, by="alice", reason="provider is down") is True
    assert park(saga_id, by="bob", reason="me too") is False
    make_due(saga_id)
    sweep()
    assert broker.drain() == []
    assert trial.effects() == []

    assert resume(saga_id, by="alice", reason="provider is back") is True
    assert resume(saga_id, by="bob", reason="me too") is False
    broker.drain()
    assert row(saga_id).status == "completed"
    assert list(
        OperatorAction.objects.order_by("at").values_list("action", "by", "reason", "outcome")
    ) == [
        ("park", "alice", "provider is down", "done"),
        ("park", "bob", "me too", "refused"),
        ("resume", "alice", "provider is back", "done"),
        ("resume", "bob", "me too", "refused"),
    ]


def test_a_worker_in_the_middle_of_a_step_is_fenced_off_by_a_parking(broker):
    trial.SCRIPT["hold"] = lambda: park(saga_id, by="alice", reason="stop") and "h1"
    saga_id = trial.begin()
    broker.drain()

    assert trial.effects() == ["take"]
    assert row(saga_id).parked_reason == "stop"
    trial.SCRIPT.clear()
    resume(saga_id, by="alice", reason="go")
    broker.drain()
    assert row(saga_id).status == "completed"


def test_an_operator_compensates_with_a_reason(broker):
    saga_id = trial.begin()
    broker.take()

    assert compensate(saga_id, by="alice", reason="fraud") is True
    broker.drain()
    assert (row(saga_id).status, row(saga_id).failure) == ("compensated", "fraud")
    assert row(saga_id).canceled_by == "alice"
    assert compensate(saga_id, by="alice", reason="again") is False


@pytest.mark.parametrize("verb", [park, resume, compensate], ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("reason", ["", " \t\n"])
def test_an_operator_gives_a_reason(broker, verb, reason):
    saga_id = trial.begin()

    with pytest.raises(ReasonMissing):
        verb(saga_id, by="alice", reason=reason)
    assert OperatorAction.objects.count() == 0


@pytest.mark.parametrize("verb", [park, resume, compensate, skip], ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("by", ["", " \t\n"])
def test_an_operator_gives_a_name(broker, verb, by):
    """The audit cannot be changed: one act of nobody would violate its invariant for good."""
    saga_id = trial.begin()

    with pytest.raises(UnfitText, match="by is empty: say who acts"):
        verb(saga_id, by=by, reason="because")
    assert OperatorAction.objects.count() == 0


def test_after_the_point_of_no_return_nobody_turns_a_saga_round(broker):
    trial.SCRIPT["book"] = raising(*[RuntimeError("down")] * 9)
    saga_id = trial.begin()
    broker.drain()
    assert row(saga_id).past_return is True

    assert compensate(saga_id, by="alice", reason="please") is False
    assert cancel(saga_id, reason="please", by="alice") is Cancellation.TOO_LATE
    assert row(saga_id).status == "running"


def test_a_parked_saga_that_is_canceled_is_no_longer_parked(broker):
    saga_id = trial.begin()
    park(saga_id, by="alice", reason="stop")

    assert cancel(saga_id, reason="no", by="bob") is Cancellation.ACCEPTED
    broker.drain()
    assert (row(saga_id).status, row(saga_id).parked_at) == ("compensated", None)


def test_a_rejection_by_the_first_step_undoes_what_the_start_has_done(broker):
    trial.SCRIPT["take"] = raising(Rejected("sold_out"))
    saga_id = trial.begin()
    broker.drain()

    assert trial.effects() == ["close"]
    assert row(saga_id).failure == "sold_out"


def test_events_and_sagas_of_one_transaction_belong_together(broker):
    with transaction("orders"):
        inside = correlation.current()
        saga_id = start(trial.TRIAL, state(), key="together")

    assert row(saga_id).correlation_id == inside.correlation_id
    assert correlation.current() is None
