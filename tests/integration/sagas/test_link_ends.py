"""Each line of the table "how a link ends", and the guards behind it."""

import pytest
from django.db import IntegrityError, OperationalError

from sagas.api import Cancellation, Rejected, Unknown, cancel
from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.ids import uuid7
from sagas.models import SagaInstance, StepFault, StepRun
from sagas.orchestration import canvas, carried, donekeys, stops, store
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.steps import do_step
from sagas.orchestration.sweep import continue_saga, sweep
from sagas.orchestration.work import Work
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row


def forward(saga_id, low=1, high=4, **options):
    return run_link(saga_id, low, high, Direction.DO, **options)


def undo(saga_id, low=0, high=4):
    return run_link(saga_id, low, high, Direction.UNDO)


def raising(*errors):
    queue = list(errors)

    def act():
        if queue:
            raise queue.pop(0)

    return act


def test_a_saga_runs_to_its_end_in_one_link(broker):
    saga_id = trial.begin()

    assert broker.drain() == ["passed"]

    saga = row(saga_id)
    assert saga.status == "completed"
    assert saga.finished_at is not None
    assert (saga.due_at, saga.leased_until, saga.cursor) == (None, None, 5)
    assert saga.past_return is True
    assert saga.state["hold"] == "h1"
    assert trial.effects() == ["take", "hold", "capture", "book"]
    assert list(
        StepRun.objects.filter(saga_id=saga_id).order_by("id").values_list("name", "state")
    ) == [
        ("open", "done"),
        ("take", "done"),
        ("hold", "done"),
        ("capture", "done"),
        ("book", "done"),
    ]


def test_a_link_that_the_cursor_has_passed_returns_normally_and_costs_no_attempt(broker):
    saga_id = trial.begin()
    forward(saga_id, 1, 2)
    token = row(saga_id).fencing_token

    assert forward(saga_id, 1, 2, swept=True) is LinkEnd.PASSED
    assert row(saga_id).fencing_token == token
    assert trial.effects() == ["take", "hold"]


def test_a_link_goes_on_from_a_cursor_inside_it(broker):
    saga_id = trial.begin()
    forward(saga_id, 1, 1)

    assert forward(saga_id, 1, 4) is LinkEnd.PASSED
    assert trial.effects() == ["take", "hold", "capture", "book"]


def test_a_link_before_its_turn_is_ignored(broker):
    saga_id = trial.begin()

    assert forward(saga_id, 3, 4) is LinkEnd.STOPPED
    assert trial.effects() == []
    assert row(saga_id).attempts == 0


def test_a_live_lease_refuses_a_second_copy_without_an_attempt(broker):
    saga_id = trial.begin()
    claimed = store.claim(saga_id, status="running", low=1, high=4)
    assert claimed is not None

    assert forward(saga_id) is LinkEnd.STOPPED
    assert row(saga_id).attempts == 1
    assert trial.effects() == []


def test_a_retry_that_is_not_due_is_ignored(broker):
    trial.SCRIPT["take"] = raising(RuntimeError("disk"))
    saga_id = trial.begin()
    assert forward(saga_id) is LinkEnd.STOPPED

    assert forward(saga_id, swept=True) is LinkEnd.STOPPED
    assert row(saga_id).attempts == 1
    assert trial.effects() == []


def test_a_saga_that_compensates_refuses_its_forward_links(broker):
    saga_id = trial.begin()
    assert cancel(saga_id, reason="changed my mind", by="alice") is Cancellation.ACCEPTED

    assert forward(saga_id) is LinkEnd.STOPPED
    assert trial.effects() == []


def test_a_fault_stores_the_next_attempt_and_the_sweeper_takes_it_up(broker):
    trial.SCRIPT["take"] = raising(RuntimeError("disk"))
    saga_id = trial.begin()
    broker.drain()
    saga = row(saga_id)
    assert (saga.status, saga.cursor, saga.attempts) == ("running", 1, 1)
    assert saga.leased_until is None
    assert saga.not_before == saga.due_at
    fault = StepFault.objects.get(saga_id=saga_id)
    assert (fault.kind, fault.name, fault.attempt) == ("fault", "take", 1)
    assert "RuntimeError: disk" in fault.error
    assert "Traceback" in fault.traceback

    make_due(saga_id)
    assert sweep() == 1
    broker.drain()
    assert row(saga_id).status == "completed"
    assert row(saga_id).attempts == 0


def test_a_rejection_compensates_and_the_error_callback_brings_it_on_its_way(broker, settings):
    # On queues of their own, and nothing is left on that of the refused step.
    trial.SCRIPT["hold"] = raising(Rejected("declined"))
    saga_id = trial.begin()

    settings.STEP_QUEUES = "per-context"
    assert broker.drain() == ["rejected", "passed", "passed"]

    saga = row(saga_id)
    assert (saga.status, saga.failure, saga.failed_step) == ("compensated", "declined", "hold")
    # The hold was refused, yet its intent was committed: its end is made final there too.
    assert trial.effects() == ["take", "refused_hold", "release", "put_back", "close"]


def test_a_local_rejection_rolls_its_own_step_back(broker):
    trial.SCRIPT["take"] = raising(Rejected("out_of_stock"))
    saga_id = trial.begin()
    broker.drain()

    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["close"]
    runs = dict(
        StepRun.objects.filter(saga_id=saga_id, direction="undo").values_list("name", "state")
    )
    assert runs == {
        "open": "done",
        "take": "nothing",
        "hold": "nothing",
        "capture": "nothing",
        "book": "nothing",
    }


def test_a_lost_error_callback_is_replaced_by_the_sweeper(broker, settings):
    settings.STEP_QUEUES = "per-context"
    trial.SCRIPT["hold"] = raising(Rejected("declined"))
    saga_id = trial.begin()
    [chain] = broker.take()
    broker.run_chain(chain)
    broker.take()  # the callback is lost

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "compensated"


def test_a_false_error_callback_for_a_committed_step_changes_nothing(broker):
    saga_id = trial.begin()
    broker.drain()

    assert continue_saga(saga_id) is False
    assert broker.take() == []
    assert row(saga_id).status == "completed"


def test_every_message_three_times_has_one_effect(broker):
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    saga_id = trial.begin()
    for _ in range(20):
        messages = broker.take()
        for message in messages:
            for _copy in range(3):
                broker.run_chain(message)
        if row(saga_id).finished_at:
            break

    assert row(saga_id).status == "compensated"
    assert sorted(trial.effects()) == sorted(["take", "hold", "release", "put_back", "close"])


def test_a_no_before_the_call_compensates_without_calling(broker):
    trial.SCRIPT["intend_hold"] = raising(Rejected("method_gone"))
    saga_id = trial.begin()
    broker.drain()

    assert (row(saga_id).status, row(saga_id).failure) == ("compensated", "method_gone")
    assert trial.CALLS == ["release"]
    assert trial.effects() == ["take", "release", "put_back", "close"]


def test_an_unknown_outcome_is_asked_again_and_never_taken_for_a_no(broker):
    trial.SCRIPT["hold"] = raising(Unknown("time-out"))
    saga_id = trial.begin()
    broker.drain()
    assert row(saga_id).status == "running"
    assert StepFault.objects.get(saga_id=saga_id).kind == "unknown"

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"
    assert trial.CALLS == ["hold", "hold", "capture"]


def test_entering_the_pivot_refuses_cancel_before_the_call_is_made(broker):
    seen = []

    def while_calling():
        seen.append(cancel(saga_id, reason="too late", by="alice"))

    trial.SCRIPT["capture"] = while_calling
    saga_id = trial.begin()
    broker.drain()

    assert seen == [Cancellation.TOO_LATE]
    assert row(saga_id).status == "completed"


def test_a_no_at_the_pivot_is_made_final_before_anything_is_undone(broker):
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    saga_id = trial.begin()
    broker.drain()

    assert trial.CALLS == ["hold", "capture", "close_capture", "release"]
    assert row(saga_id).past_return is False
    assert row(saga_id).status == "compensated"


def test_a_no_at_the_pivot_that_turns_out_to_be_a_yes_goes_forward(broker):
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    trial.SCRIPT["close_capture"] = lambda: "captured"
    saga_id = trial.begin()
    broker.drain()

    assert row(saga_id).status == "completed"
    assert trial.effects() == ["take", "hold", "capture", "book"]


def test_a_no_at_the_pivot_that_cannot_be_made_final_waits(broker):
    trial.SCRIPT["capture"] = raising(Rejected("expired"), Rejected("expired"))
    trial.SCRIPT["close_capture"] = raising(Unknown("time-out"))
    saga_id = trial.begin()
    broker.drain()
    assert (row(saga_id).status, row(saga_id).past_return) == ("running", True)
    assert cancel(saga_id, reason="now?", by="alice") is Cancellation.TOO_LATE

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "compensated"


def test_a_retriable_step_that_is_refused_is_retried_never_compensated(broker):
    trial.SCRIPT["book"] = raising(Rejected("closed"))
    saga_id = trial.begin()
    broker.drain()
    assert row(saga_id).status == "running"
    assert "CannotReject" in StepFault.objects.get(saga_id=saga_id).error

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_a_compensation_that_fails_is_parked_past_the_bound_and_never_given_up(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    trial.SCRIPT["take"] = raising(Rejected("out_of_stock"))
    trial.SCRIPT["close"] = raising(RuntimeError("one"), RuntimeError("two"))
    saga_id = trial.begin()
    for error in ("one", "two"):
        broker.drain()
        saga = row(saga_id)
        assert saga.status == "compensating"
        assert saga.parked_reason == f"open: 1 attempts, the last: RuntimeError: {error}"
        assert (saga.due_at, saga.leased_until) == (None, None)
        assert stops.resume(saga_id) is True
        continue_saga(saga_id)

    broker.drain()
    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["close"]


def test_a_spent_time_slice_publishes_the_rest_and_releases_the_lease_first(broker, settings):
    settings.STEP_QUEUES = "shared"
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}
    saga_id = trial.begin()
    [first] = broker.take()
    assert broker.run_chain(first) == "ignored"

    saga = row(saga_id)
    assert (saga.cursor, saga.leased_until, saga.attempts) == (2, None, 0)
    assert trial.effects() == ["take"]
    broker.drain()
    assert row(saga_id).status == "completed"


def test_work_that_kills_its_process_is_parked_after_the_bound(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 3}
    saga_id = trial.begin()
    for _ in range(3):
        assert store.claim(saga_id, status="running", low=1, high=4) is not None
        make_due(saga_id)

    assert forward(saga_id, swept=True) is LinkEnd.STOPPED
    saga = row(saga_id)
    assert saga.parked_reason == (
        "3 attempts of take ended without a trace: workers died or froze in it"
    )
    assert trial.effects() == []


def test_a_step_whose_commit_was_not_answered_is_done_and_no_fault(broker, monkeypatch):
    saga_id = trial.begin()
    SagaInstance.objects.filter(id=saga_id).update(attempts=int(conf.MAX_ATTEMPTS) - 1)

    def unanswered(work):
        do_step(work)
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as cut:
        cut.setattr(carried, "do_step", unanswered)
        assert run_link(saga_id, 1, 4, Direction.DO) is LinkEnd.STOPPED

    saga = row(saga_id)
    assert (saga.cursor, saga.attempts, saga.parked_reason) == (2, 0, None)
    assert not StepFault.objects.filter(saga_id=saga_id).exists()
    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_a_worker_that_thaws_after_the_cancel_writes_nothing(broker):
    saga_id = trial.begin()
    broker.take()
    frozen = store.claim(saga_id, status="running", low=1, high=4)
    cancel(saga_id, reason="changed my mind", by="alice")
    broker.drain()
    assert row(saga_id).status == "compensated"

    work = Work(
        saga=trial.TRIAL,
        claimed=frozen,
        state=trial.TrialState(subject=saga_id),
        keeps_lease=lambda: True,
    )
    with pytest.raises(store.StaleFencingToken):
        do_step(work)
    fault = stops.Fault(
        step_no=1, name="take", direction="do", kind="fault", error="x", traceback=""
    )
    with pytest.raises(store.StaleFencingToken):
        stops.record_fault(frozen, fault, delay=1, parked=None)
    assert trial.effects() == ["close"]


def test_a_cancel_during_a_remote_call_fences_the_answer_off_and_releases_the_hold(broker):
    trial.SCRIPT["hold"] = lambda: (cancel(saga_id, reason="no", by="alice"), "h1")[1]
    saga_id = trial.begin()
    [first] = broker.take()
    assert broker.run_chain(first) == "ignored"
    broker.drain()

    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take", "release", "put_back", "close"]
    assert trial.CALLS == ["hold", "release"]


def test_an_overdue_saga_compensates_even_when_it_is_parked(broker):
    trial.SCRIPT["take"] = raising(*[RuntimeError("down")] * 50)
    saga_id = trial.begin()
    broker.drain()
    stops.park(saga_id, reason="looked at by hand")
    SagaInstance.objects.filter(id=saga_id).update(deadline_at="2020-01-01T00:00:00Z")
    make_due(saga_id)

    sweep()
    broker.drain()
    saga = row(saga_id)
    assert (saga.status, saga.failure, saga.parked_reason) == ("compensated", "deadline", None)


def test_a_deadline_after_the_pivot_is_ignored(broker):
    trial.SCRIPT["book"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    broker.drain()
    SagaInstance.objects.filter(id=saga_id).update(deadline_at="2020-01-01T00:00:00Z")
    make_due(saga_id)

    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_the_same_business_key_starts_one_saga(broker):
    first = trial.begin("order-1")

    assert trial.begin("order-1") == first
    assert SagaInstance.objects.count() == 1


def test_a_saga_that_was_never_rung_is_started_by_the_sweeper(broker):
    saga_id = trial.begin()
    broker.take()
    make_due(saga_id)

    assert sweep() == 1
    broker.drain()
    assert row(saga_id).status == "completed"


def test_a_false_done_key_in_redis_costs_seconds_and_never_a_step(broker):
    saga_id = trial.begin()
    broker.take()
    donekeys.remember(saga_id, 1, 4, Direction.DO)
    assert forward(saga_id) is LinkEnd.PASSED
    assert trial.effects() == []

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


@pytest.mark.parametrize("value", [b"--5", b"-", b"", b"9" * 5000, "\u0665".encode()])
def test_what_is_no_number_in_redis_is_taken_for_nothing(monkeypatch, value):
    class Client:
        def get(self, key):
            return value

    monkeypatch.setattr(donekeys, "client", Client)
    assert donekeys.all_done(uuid7(), 0, 0, Direction.DO) is False


def test_per_context_queues_split_the_chain_at_every_border(settings):
    settings.STEP_QUEUES = "per-context"
    found = canvas.links(trial.TRIAL, 1, Direction.DO)

    assert [(link.low, link.high, link.queue) for link in found] == [
        (1, 1, "orders"),
        (2, 3, "payments"),
        (4, 4, "billing"),
    ]
    back = canvas.links(trial.TRIAL, 4, Direction.UNDO)
    assert [(link.low, link.high, link.queue) for link in back] == [
        (4, 4, "billing"),
        (2, 3, "payments"),
        (0, 1, "orders"),
    ]


def test_a_chain_over_all_queues_reaches_both_ends(broker, settings):
    settings.STEP_QUEUES = "per-context"
    good = trial.begin()
    broker.drain()
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    bad = trial.begin()
    broker.drain()

    assert (row(good).status, row(bad).status) == ("completed", "compensated")


def test_an_ended_saga_never_moves_again_whoever_asks(broker):
    saga_id = trial.begin()
    broker.drain()

    with pytest.raises(IntegrityError):
        SagaInstance.objects.filter(id=saga_id).update(status="running")
    assert undo(saga_id) is LinkEnd.STOPPED
