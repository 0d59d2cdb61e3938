"""A saga that waits: what wakes it, what ends the wait, and what it costs meanwhile."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from sagas import clock
from sagas.api import (
    Cancellation,
    Saga,
    Signaled,
    UnfitPayload,
    UnknownSignal,
    cancel,
    compensate,
    park,
    resume,
    signal,
    start,
    transaction,
    uuid7,
    wait_for,
)
from sagas.core.keys import Direction
from sagas.models import Signal, StepFault, StepRun
from sagas.orchestration import registry, store
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.status import NoSuchSaga
from sagas.orchestration.sweep import sweep
from sagas.reasons import UnfitText
from sagas.transactions import is_detached
from tests.databases import rows
from tests.integration.sagas import trial, waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_sweep import SLOW
from tests.integration.sagas.waiting import LISTENING, PATIENT, SLEEPY, Approved, ListenState

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


def forward(saga_id, **options):
    return run_link(saga_id, 0, 2, Direction.DO, **options)


def asleep(broker, saga=LISTENING, **state):
    """A saga that has got to its wait."""
    saga_id = waiting.begin(saga, **state)
    assert broker.drain() == ["ignored"]
    assert row(saga_id).cursor == 1
    return saga_id


def approve(saga_id, key="1", **more):
    return signal(saga_id, "approve", Approved(by="alice", **more), key=key)


def runs(saga_id):
    return list(
        StepRun.objects.filter(saga_id=saga_id)
        .order_by("id")
        .values_list("name", "direction", "state")
    )


def test_a_saga_sleeps_until_its_signal_and_goes_on_with_what_it_says(broker):
    saga_id = asleep(broker)
    saga = row(saga_id)
    assert (saga.waiting_for, saga.status, saga.leased_until) == ("signal:approve", "running", None)
    assert (saga.attempts, saga.not_before) == (0, saga.due_at)
    assert HOUR - timedelta(minutes=1) < saga.wait_until - clock.now() <= HOUR
    assert sweep() == 0

    assert approve(saga_id) is Signaled.DELIVERED
    assert broker.drain() == ["passed"]
    saga = row(saga_id)
    assert (saga.status, saga.state["approved_by"]) == ("completed", "alice")
    assert (saga.waiting_for, saga.wait_until) == (None, None)
    assert trial.effects() == ["take", "book"]
    assert runs(saga_id)[1] == ("approve", "do", "done")
    assert StepRun.objects.get(saga_id=saga_id, step_no=1).reply == {
        "signaled": True,
        "key": "1",
        "payload": {"by": "alice", "limit": 0},
    }
    kept = Signal.objects.get(saga_id=saga_id)
    assert (kept.name, kept.key, kept.consumed_step) == ("approve", "1", 1)


def test_a_signal_that_comes_before_the_wait_is_kept(broker):
    saga_id = waiting.begin()
    assert approve(saga_id) is Signaled.KEPT

    # The signal rings too, since the start's message may have passed by the row that it held.
    assert broker.drain() == ["passed", "passed"]
    assert row(saga_id).state["approved_by"] == "alice"


def test_a_signal_behind_one_that_was_delivered_is_said_to_be_late(broker):
    saga_id = asleep(broker)
    assert approve(saga_id, key="1") is Signaled.DELIVERED
    second = signal(saga_id, "approve", Approved(by="bob"), key="2")
    broker.drain()

    assert second is Signaled.TOO_LATE, "nobody will ever read it"
    assert row(saga_id).state["approved_by"] == "alice"


def test_a_key_of_a_signal_that_no_index_holds_is_refused(broker):
    saga_id = waiting.begin()
    with pytest.raises(UnfitText, match="key has 10000 bytes; 1000 are the most"):
        approve(saga_id, key=secrets.token_hex(5000))
    assert approve(saga_id, key="k" * 1000) is Signaled.KEPT


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "key is empty: all signals without one would be one"),
        (17, r"key is a text, and 17 is none: write str\(key\)"),
        (None, "key is a text, and None is none"),
    ],
)
def test_a_key_of_a_signal_that_is_none_is_refused(broker, key, said):
    saga_id = waiting.begin()
    with pytest.raises(UnfitText, match=said):
        approve(saga_id, key=key)
    assert not Signal.objects.exists()


def test_the_same_key_is_one_signal_and_the_first_of_two_counts(broker):
    saga_id = waiting.begin()
    assert [approve(saga_id), approve(saga_id)] == [Signaled.KEPT, Signaled.DUPLICATE]
    assert signal(saga_id, "approve", Approved(by="bob"), key="2") is Signaled.TOO_LATE

    broker.drain()
    assert row(saga_id).state["approved_by"] == "alice"
    assert list(
        Signal.objects.filter(saga_id=saga_id).order_by("id").values_list("key", "consumed_step")
    ) == [("1", 1), ("2", None)]
    assert approve(saga_id) is Signaled.DUPLICATE
    assert approve(saga_id, key="3") is Signaled.FINISHED
    assert Signal.objects.filter(saga_id=saga_id).count() == 2


def test_a_signal_for_a_step_that_is_past_is_kept_for_the_record_and_said_to_be_late(broker):
    saga_id = waiting.begin()
    approve(saga_id)
    trial.SCRIPT["book"] = lambda: (_ for _ in ()).throw(RuntimeError("down"))
    broker.drain()
    assert row(saga_id).cursor == 2

    assert approve(saga_id, key="2") is Signaled.TOO_LATE
    assert Signal.objects.filter(saga_id=saga_id).count() == 2
    assert broker.take() == []


def test_a_signal_leaves_the_due_time_of_a_saga_that_somebody_has_in_hand(broker):
    """Else the sweeper would take it from a worker that lives."""
    saga_id = asleep(broker)
    make_due(saga_id)
    claimed = store.claim(saga_id, status="running", low=1, high=1)
    due_at = row(saga_id).due_at

    assert approve(saga_id) is Signaled.DELIVERED
    saga = row(saga_id)
    assert (saga.due_at, saga.fencing_token) == (due_at, claimed.token)
    assert saga.leased_until is not None


class Abandoned(Exception):
    pass


def told_and_abandoned(saga_id):
    approve(saga_id)
    raise Abandoned


def test_a_signal_in_the_transaction_of_what_it_tells_of_is_rolled_back_with_it(broker):
    saga_id = asleep(broker)
    with pytest.raises(Abandoned), transaction("payments"):
        told_and_abandoned(saga_id)

    assert Signal.objects.count() == 0
    assert row(saga_id).not_before is not None
    assert broker.take() == []
    with transaction("payments"):
        answer = approve(saga_id)
        assert broker.take() == []
    assert answer is (Signaled.ASKED if is_detached("payments") else Signaled.DELIVERED)
    assert broker.drain() == ["passed"]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (Approved(by=3), r"Approved\.by: expected str, found 3"),
        (Approved(by="alice", limit=1.5), r"Approved\.limit: float has no exact JSON form"),
        ({"limit": 1}, r"Approved: field 'by' is missing"),
        ({"by": "alice", "limt": 1}, r"Approved: unknown field 'limt'"),
        ({"by": "alice", "limit": "1"}, r"Approved\.limit: expected int, found '1'"),
        ({"by": "a\x00"}, "a text with a zero byte cannot be stored"),
        ({"by": "\\\x00"}, "a text with a zero byte cannot be stored"),
        ({"by": "\ud800"}, "a text with half of a surrogate pair cannot be stored"),
        ("alice", "Approved: expected an object, found 'alice'"),
        (waiting.ListenState(), "Approved expected, ListenState found"),
    ],
)
def test_a_payload_of_another_type_is_refused_by_the_name_of_its_field(broker, payload, said):
    saga_id = asleep(broker)

    with pytest.raises(UnfitPayload, match=f"orders.listening, signal approve: {said}"):
        signal(saga_id, "approve", payload, key="1")
    assert Signal.objects.count() == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Loose:
    anything: Any


LOOSE = Saga(
    name="orders.loose",
    version=1,
    state=ListenState,
    deadline=timedelta(days=2),
    steps=(wait_for("say", signal=Loose, within=timedelta(hours=1)), waiting.booking()),
)


@pytest.mark.parametrize("anything", [float("nan"), float("inf"), Decimal("1.5")])
def test_a_payload_that_is_no_json_is_refused_and_leaves_the_callers_transaction_alone(
    broker, monkeypatch, anything
):
    monkeypatch.setattr(registry, "SAGAS", dict(registry.SAGAS))
    registry.add(LOOSE)
    with transaction("orders"):
        saga_id = start(LOOSE, ListenState(), key="1")
    with transaction("orders"):
        with pytest.raises(UnfitPayload, match=r"orders.loose, signal say: what is no JSON"):
            signal(saga_id, "say", {"anything": anything}, key="1")
        signal(saga_id, "say", {"anything": 1}, key="1")

    assert Signal.objects.get().payload == {"anything": 1}


@pytest.mark.parametrize("by", [r"C:\u0000", r"C:\\u0000", r"\ud800", "\N{GRINNING FACE}"])
def test_a_text_that_only_speaks_of_what_cannot_be_stored_is_taken(broker, by):
    saga_id = asleep(broker)

    assert signal(saga_id, "approve", Approved(by=by), key="1") is Signaled.DELIVERED
    assert Signal.objects.get().payload["by"] == by


def test_a_signal_that_nobody_listens_to_is_refused_with_the_names_that_are_listened_to(broker):
    saga_id = asleep(broker)
    with pytest.raises(UnknownSignal, match="no signal 'aprove': it listens to approve"):
        signal(saga_id, "aprove", {}, key="1")
    with pytest.raises(UnknownSignal, match="no signal 'approve': it listens to none"):
        signal(trial.begin(), "approve", {}, key="1")
    with pytest.raises(NoSuchSaga):
        approve(uuid7())


def test_claims_cost_nothing_while_it_waits(broker):
    saga_id = asleep(broker)
    before = row(saga_id)

    assert [forward(saga_id, swept=True) for _ in range(3)] == [LinkEnd.STOPPED] * 3
    assert (row(saga_id).attempts, row(saga_id).fencing_token) == (0, before.fencing_token)


def test_the_end_of_a_wait_is_stored_once_and_no_later_claim_moves_it(broker):
    saga_id = asleep(broker)
    ends = row(saga_id).wait_until

    for _ in range(3):
        make_due(saga_id)
        assert sweep() == 1
        assert broker.drain() == ["ignored"]
    assert row(saga_id).wait_until == ends
    assert (row(saga_id).attempts, row(saga_id).waiting_for) == (0, "signal:approve")


def test_a_wait_that_ends_without_its_signal_compensates(broker):
    saga_id = asleep(broker)
    clock.travel(HOUR)

    assert sweep() == 1
    assert broker.drain() == ["rejected", "passed", "passed"]
    saga = row(saga_id)
    assert (saga.status, saga.failure, saga.failed_step) == (
        "compensated",
        "not_signaled",
        "approve",
    )
    assert trial.effects() == ["take", "put_back"]
    assert StepFault.objects.get(saga_id=saga_id).kind == "rejected"
    assert approve(saga_id) is Signaled.FINISHED


def test_a_wait_that_may_end_without_its_signal_goes_on(broker):
    saga_id = asleep(broker, PATIENT)
    clock.travel(HOUR)

    assert sweep() == 1
    assert broker.drain() == ["passed"]
    assert row(saga_id).state["approved_by"] is None
    assert StepRun.objects.get(saga_id=saga_id, step_no=1).reply == {"signaled": False}


def test_a_signal_that_comes_when_the_wait_is_over_but_not_yet_ended_still_counts(broker):
    saga_id = asleep(broker)
    clock.travel(HOUR)
    assert approve(saga_id) is Signaled.DELIVERED

    broker.drain()
    assert row(saga_id).status == "completed"


def test_a_wait_of_no_time_at_all_is_over_when_it_begins(broker):
    saga_id = waiting.begin(PATIENT, patience=0)

    assert broker.drain() == ["passed"]
    assert row(saga_id).status == "completed"


def test_a_timer_lets_the_saga_go_on_when_its_time_has_come(broker):
    saga_id = asleep(broker, SLEEPY)
    assert row(saga_id).waiting_for == "timer:cool_off"
    clock.travel(HOUR / 2)
    assert sweep() == 1
    assert broker.drain() == ["ignored"]

    clock.travel(HOUR / 2)
    assert sweep() == 1
    assert broker.drain() == ["passed"]
    assert trial.effects() == ["take", "book"]
    assert runs(saga_id)[1] == ("cool_off", "do", "done")


def test_the_deadline_of_the_saga_counts_while_it_waits(broker):
    saga_id = asleep(broker, patience=3 * 86_400)
    saga = row(saga_id)
    assert abs(saga.due_at - saga.deadline_at) < timedelta(seconds=5)
    clock.travel(timedelta(days=2))

    assert sweep() == 1
    broker.drain()
    assert (row(saga_id).status, row(saga_id).failure) == ("compensated", "deadline")
    assert trial.effects() == ["take", "put_back"]


def by_the_database(saga_id, column):
    """Return in how many seconds an instant of a saga's row comes."""
    now = "clock_timestamp()" if column == "due_at" else "sagas.now()"
    [(left,)] = rows(f"SELECT {column} - {now} FROM sagas_saga WHERE id = '{saga_id}'")
    return left.total_seconds()


@pytest.fixture(params=[-600, 600], ids=["behind", "ahead"])
def elsewhere(request, monkeypatch):
    """Puts the worker on a machine whose clock is off by ten minutes."""
    right = clock.real
    off = timedelta(seconds=request.param)
    return lambda: monkeypatch.setattr(clock, "real", lambda: right() + off)


@pytest.mark.parametrize("saga", [LISTENING, SLEEPY], ids=["signal", "timer"])
def test_a_wait_is_as_long_on_a_machine_whose_clock_is_wrong(broker, elsewhere, saga):
    elsewhere()
    saga_id = asleep(broker, saga, patience=300)

    assert by_the_database(saga_id, "wait_until") == pytest.approx(300, abs=SLOW)
    assert by_the_database(saga_id, "due_at") == pytest.approx(300, abs=SLOW)


@pytest.mark.parametrize("saga", [LISTENING, SLEEPY], ids=["signal", "timer"])
def test_a_machine_whose_clock_is_wrong_ends_no_wait_too_soon(broker, elsewhere, saga):
    saga_id = asleep(broker, saga, patience=300)
    make_due(saga_id)
    elsewhere()

    assert forward(saga_id, swept=True) is LinkEnd.STOPPED
    assert (row(saga_id).status, row(saga_id).cursor) == ("running", 1)
    assert by_the_database(saga_id, "due_at") == pytest.approx(300, abs=SLOW)


def test_on_a_machine_whose_clock_is_wrong_a_saga_sleeps_until_its_deadline(broker, elsewhere):
    """One that lets it be due at once finds it not overdue, again and again."""
    saga_id = asleep(broker)
    rows(f"UPDATE sagas_saga SET deadline_at = sagas.now() + '5 min' WHERE id = '{saga_id}'")
    make_due(saga_id)
    elsewhere()

    assert forward(saga_id, swept=True) is LinkEnd.STOPPED
    assert by_the_database(saga_id, "due_at") == pytest.approx(300, abs=SLOW)


@pytest.mark.parametrize("by_operator", [False, True])
def test_a_saga_that_waits_can_be_turned_round(broker, by_operator):
    saga_id = asleep(broker)
    if by_operator:
        assert compensate(saga_id, by="alice", reason="a mistake")
    else:
        assert cancel(saga_id, reason="no", by="alice") is Cancellation.ACCEPTED
    assert row(saga_id).waiting_for is None

    broker.drain()
    assert row(saga_id).status == "compensated"
    assert runs(saga_id)[-3:] == [
        ("book", "undo", "nothing"),
        ("approve", "undo", "nothing"),
        ("take", "undo", "done"),
    ]


def test_a_parked_saga_keeps_its_signal_and_its_end_until_it_is_resumed(broker):
    saga_id = asleep(broker)
    ends = row(saga_id).wait_until
    park(saga_id, by="alice", reason="look into it")
    assert approve(saga_id) is Signaled.KEPT
    assert broker.take() == []
    assert forward(saga_id, swept=True) is LinkEnd.STOPPED
    assert row(saga_id).wait_until == ends

    resume(saga_id, by="alice", reason="fine")
    assert broker.drain() == ["passed"]
    assert row(saga_id).status == "completed"


def test_resuming_without_a_signal_lets_it_sleep_on(broker):
    saga_id = asleep(broker)
    ends = row(saga_id).wait_until
    park(saga_id, by="alice", reason="look into it")
    resume(saga_id, by="alice", reason="fine")

    assert broker.drain() == ["ignored"]
    assert (row(saga_id).waiting_for, row(saga_id).wait_until) == ("signal:approve", ends)


def test_a_wait_that_is_over_is_undone_by_passing_it(broker):
    saga_id = asleep(broker, waiting.REVERSIBLE)
    clock.travel(HOUR)
    sweep()
    assert broker.drain() == ["ignored"]
    assert row(saga_id).waiting_for == "signal:approve"
    cancel(saga_id, reason="no", by="alice")

    broker.drain()
    assert runs(saga_id)[-4:] == [
        ("approve", "undo", "nothing"),
        ("more", "undo", "done"),
        ("cool_off", "undo", "done"),
        ("take", "undo", "done"),
    ]
    assert trial.effects() == ["take", "take", "put_back", "put_back"]
