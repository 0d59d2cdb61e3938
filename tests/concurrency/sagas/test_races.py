"""Two at once, with real connections: one wins, and the effects are the winner's."""

import random
from collections import Counter

import pytest
from django.db import connection

from sagas import failpoints
from sagas.api import Cancellation, Rejected, cancel, park, resume
from sagas.core.keys import Direction
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import stops, store
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from sagas.transactions import is_detached
from tests.concurrency.sagas.races import Gate, row_locked, until_somebody_waits_for_a_lock
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.together import raised, together


def forward(saga_id, low=1, high=4, **options):
    return run_link(saga_id, low, high, Direction.DO, **options)


def undo(saga_id):
    return run_link(saga_id, 0, 4, Direction.UNDO, swept=True)


def overdue(saga_id):
    SagaInstance.objects.filter(id=saga_id).update(deadline_at="2020-01-01T00:00:00Z")


def check_books(saga_id):
    """What must hold of every saga that has ended, whoever won."""
    saga = row(saga_id)
    found = Counter(effects_of(saga_id))
    assert set(found.values()) <= {1}, f"an effect took place twice: {found}"
    if saga.status == "completed":
        assert set(found) == {"take", "hold", "capture", "book"}
    else:
        assert saga.status == "compensated"
        assert saga.past_return is False
        assert found["close"] == 1
        assert ("take" in found) == ("put_back" in found)
        assert "hold" not in found or "release" in found
        assert not {"capture", "book"} & set(found)


def effects_of(saga_id):
    return trial.effects(saga_id)


def bring_to_an_end(broker, *saga_ids):
    for _ in range(20):
        broker.drain()
        unfinished = SagaInstance.objects.filter(id__in=saga_ids, finished_at=None)
        if not unfinished.exists():
            return
        for saga_id in unfinished.values_list("id", flat=True):
            make_due(saga_id)
        sweep()
    raise AssertionError("it does not end")


# At once, about as long as a step takes, and longer than a whole link: whatever the machine is
# doing, each side comes first in some rounds.
LATENESS = (0, 25, 600)


def after_some_queries(chance, action, most=25):
    """Come a little later, so that the races are won by each in turn."""
    queries = chance.randint(0, most)

    def late():
        with connection.cursor() as cursor:
            for _ in range(queries):
                cursor.execute("SELECT 1")
        return action()

    return late


# -- claiming ---


def test_of_eight_workers_that_claim_at_once_one_has_the_saga(broker):
    saga_id = trial.begin()

    claims = together(*[lambda: store.claim(saga_id, status="running", low=1, high=4)] * 8)
    assert raised(claims) == []
    [claimed] = [claim for claim in claims if claim is not None]
    assert (claimed.token, claimed.attempts) == (1, 1)
    assert (row(saga_id).fencing_token, row(saga_id).attempts) == (1, 1)


def test_of_eight_links_that_come_at_once_one_runs(broker):
    saga_id = trial.begin()

    ends = together(*[lambda: forward(saga_id)] * 8)
    assert set(ends) <= {LinkEnd.PASSED, LinkEnd.STOPPED}
    assert LinkEnd.PASSED in ends
    check_books(saga_id)


def test_an_expired_lease_is_taken_over_by_one_worker(broker):
    saga_id = trial.begin()
    store.claim(saga_id, status="running", low=1, high=4)
    make_due(saga_id)

    claims = together(*[lambda: store.claim(saga_id, status="running", low=1, high=4)] * 6)
    assert len([claim for claim in claims if claim is not None]) == 1
    assert row(saga_id).fencing_token == 2


@pytest.mark.parametrize("round_", range(10))
def test_a_claim_and_a_cancel_at_once_leave_a_saga_that_compensates(broker, round_):
    saga_id = trial.begin()
    broker.take()

    ends = together(
        lambda: store.claim(saga_id, status="running", low=1, high=4),
        lambda: cancel(saga_id, reason="no", by="alice"),
    )
    assert ends[1] is Cancellation.ACCEPTED
    saga = row(saga_id)
    assert (saga.status, saga.leased_until) == ("compensating", None)
    assert saga.fencing_token == (1 if ends[0] is None else 2)
    bring_to_an_end(broker, saga_id)
    check_books(saga_id)


# -- a step's commit against a cancel ---


def test_a_step_that_is_about_to_commit_goes_before_a_cancel_that_waits_for_it(broker, monkeypatch):
    gate = Gate()
    at_the_commit(monkeypatch, "take", gate.wait_here)
    saga_id = trial.begin()
    broker.take()

    def customer():
        gate.when_reached()
        return cancel(saga_id, reason="no", by="alice")

    def watcher():
        gate.when_reached()
        until_somebody_waits_for_a_lock()
        gate.open()

    ends = together(lambda: forward(saga_id), customer, watcher)
    assert ends[:2] == [LinkEnd.STOPPED, Cancellation.ACCEPTED]
    assert effects_of(saga_id)[0] == "take"
    bring_to_an_end(broker, saga_id)
    assert effects_of(saga_id)[-2:] == ["put_back", "close"]
    check_books(saga_id)


def at_the_commit(monkeypatch, step, action):
    """Do something when a step has written everything and not committed."""
    from sagas.orchestration import steps

    for module in {steps, failpoints}:
        monkeypatch.setattr(
            module,
            "failpoint",
            lambda name, detail="": (
                action() if (name, detail) == ("step.before_commit", step) else None
            ),
            raising=False,
        )


def test_a_cancel_that_comes_first_refuses_the_step_that_has_done_its_work(broker):
    gate = Gate()
    trial.SCRIPT["take"] = gate.wait_here
    saga_id = trial.begin()
    broker.take()

    def customer():
        gate.when_reached()
        answer = cancel(saga_id, reason="no", by="alice")
        gate.open()
        return answer

    assert together(lambda: forward(saga_id), customer) == [
        LinkEnd.STOPPED,
        Cancellation.ACCEPTED,
    ]
    bring_to_an_end(broker, saga_id)
    # Over two databases the effect is committed when the fence refuses the move: it is undone.
    made = ["take", "put_back"] if is_detached("orders") else []
    assert effects_of(saga_id) == [*made, "close"]


def test_fifty_times_a_step_and_a_cancel_at_once(broker):
    chance, won = random.Random(5), Counter()
    for _ in range(50):
        saga_id = trial.begin()
        broker.take()
        ends = together(
            lambda saga_id=saga_id: forward(saga_id),
            after_some_queries(
                chance,
                lambda saga_id=saga_id: cancel(saga_id, reason="no", by="alice"),
                most=chance.choice(LATENESS),
            ),
        )
        assert raised(ends) == []
        bring_to_an_end(broker, saga_id)
        check_books(saga_id)
        accepted = ends[1] is Cancellation.ACCEPTED
        assert (row(saga_id).status == "compensated") is accepted
        won[ends[1]] += 1
    assert len(won) > 1, f"one side always came first: {won}"


# -- the pivot ---


def test_a_hundred_times_the_pivot_a_cancel_and_the_deadline_at_once(broker):
    """Whoever wins, no saga is canceled and past the point of no return."""
    chance = random.Random(7)
    ended = Counter()
    for _ in range(100):
        saga_id = trial.begin()
        broker.take()
        assert forward(saga_id, 1, 2) is LinkEnd.PASSED
        overdue_too = chance.random() < 0.5
        racers = [
            lambda saga_id=saga_id: forward(saga_id, 3, 4),
            lambda saga_id=saga_id: cancel(saga_id, reason="no", by="alice"),
            lambda saga_id=saga_id: stops.begin_compensation(saga_id, failure="deadline", by=None),
        ]
        if overdue_too:
            overdue(saga_id)
        most = chance.choice(LATENESS)
        ends = together(
            after_some_queries(chance, racers[0]),
            *[after_some_queries(chance, racer, most=most) for racer in racers[1:]],
        )
        assert raised(ends) == []
        bring_to_an_end(broker, saga_id)
        check_books(saga_id)
        asked = ends[1] is Cancellation.ACCEPTED, ends[2] is True
        assert (row(saga_id).status == "compensated") is (any(asked) or overdue_too)
        ended[row(saga_id).failure] += 1
    assert set(ended) == {None, "no", "deadline"}, f"one side never came first: {ended}"


def test_a_cancel_waits_for_the_entry_into_the_pivot_and_is_too_late(broker):
    gate = Gate()
    saga_id = trial.begin()
    broker.take()
    forward(saga_id, 1, 2)
    trial.SCRIPT["capture"] = gate.wait_here

    def customer():
        gate.when_reached()
        answer = cancel(saga_id, reason="no", by="alice")
        gate.open()
        return answer

    assert together(lambda: forward(saga_id, 3, 4), customer) == [
        LinkEnd.PASSED,
        Cancellation.TOO_LATE,
    ]
    check_books(saga_id)


def test_a_worker_frozen_in_the_pivot_is_overtaken_and_changes_nothing_when_it_thaws(
    broker, settings
):
    """The second worker hears a no, makes it final and turns round; then the first one wakes."""
    settings.STEP_QUEUES = "shared"
    gate = Gate()
    answers = iter([lambda: gate.wait_here() or "captured"])

    def capture():
        first = next(answers, None)
        if first is not None:
            return first()
        raise Rejected("expired")

    trial.SCRIPT["capture"] = capture
    saga_id = trial.begin()
    broker.take()
    forward(saga_id, 1, 2)

    def second():
        gate.when_reached()
        make_due(saga_id)
        end = forward(saga_id, 3, 4, swept=True)
        gate.open()
        return end

    ends = together(lambda: forward(saga_id, 3, 4), second)
    # The second one has gone on to the way back, all of it.
    assert ends == [LinkEnd.STOPPED, LinkEnd.STOPPED]
    assert row(saga_id).status == "compensated"
    trial.SCRIPT.clear()
    bring_to_an_end(broker, saga_id)
    assert row(saga_id).status == "compensated"
    check_books(saga_id)


# -- compensation ---


def test_a_forward_step_that_thaws_during_the_compensation_writes_nothing(broker):
    gate = Gate()
    trial.SCRIPT["take"] = gate.wait_here
    saga_id = trial.begin()
    broker.take()

    def compensation():
        gate.when_reached()
        cancel(saga_id, reason="no", by="alice")
        end = undo(saga_id)
        gate.open()
        return end

    assert together(lambda: forward(saga_id), compensation) == [LinkEnd.STOPPED, LinkEnd.PASSED]
    assert effects_of(saga_id) == ["close"]
    assert row(saga_id).status == "compensated"
    assert not StepRun.objects.filter(saga_id=saga_id, direction="do", name="take").exists()


@pytest.mark.parametrize("round_", range(10))
def test_compensations_at_once_undo_each_step_once(broker, round_):
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    saga_id = trial.begin()
    [first] = broker.take()
    broker.run_chain(first)
    broker.take()

    assert raised(together(*[lambda: undo(saga_id)] * 5)) == []
    bring_to_an_end(broker, saga_id)
    check_books(saga_id)


def test_a_compensation_that_is_overtaken_while_it_undoes_is_refused(broker):
    gate = Gate()
    entered = iter([True])
    trial.SCRIPT["put_back"] = lambda: gate.wait_here() if next(entered, False) else None
    saga_id = trial.begin()
    broker.take()
    forward(saga_id, 1, 1)
    cancel(saga_id, reason="no", by="alice")
    broker.take()

    def second():
        gate.when_reached()
        make_due(saga_id)
        end = undo(saga_id)
        gate.open()
        return end

    assert together(lambda: undo(saga_id), second) == [LinkEnd.STOPPED, LinkEnd.PASSED]
    assert effects_of(saga_id) == ["take", "put_back", "close"]


# -- starting, resuming ---


def test_twenty_starts_under_one_key_make_one_saga(broker):
    ids = together(*[lambda: trial.begin("order-1")] * 20)

    assert raised(ids) == []
    assert len(set(ids)) == 1
    assert SagaInstance.objects.count() == 1
    broker.drain()
    check_books(ids[0])


def test_a_resume_pressed_by_many_is_done_once(broker):
    saga_id = trial.begin()
    broker.take()
    park(saga_id, by="alice", reason="stop")

    answers = together(*[lambda: resume(saga_id, by="alice", reason="go")] * 6)
    assert sorted(answers) == [False] * 5 + [True]
    assert row(saga_id).fencing_token == 2
    bring_to_an_end(broker, saga_id)
    check_books(saga_id)


def test_a_park_and_a_commit_at_once_leave_one_truth(broker):
    for _ in range(20):
        saga_id = trial.begin()
        broker.take()
        together(
            lambda saga_id=saga_id: forward(saga_id),
            lambda saga_id=saga_id: park(saga_id, by="alice", reason="stop"),
        )
        if row(saga_id).parked_at:
            resume(saga_id, by="alice", reason="go")
        bring_to_an_end(broker, saga_id)
        check_books(saga_id)


def test_a_sweeper_does_not_wait_for_a_saga_that_is_being_committed(broker):
    busy, idle = trial.begin(), trial.begin()
    broker.take()
    make_due(busy)
    make_due(idle)

    with row_locked(busy):
        assert together(sweep) == [1]
    [message] = broker.take()
    assert getattr(message, "tasks", [message])[0].args[0] == str(idle)


# -- many ---


def test_many_sagas_many_workers_cancels_and_false_hints_end_in_books_that_balance(broker):
    chance = random.Random(11)
    trial.SCRIPT["hold"] = lambda: None if chance.random() < 0.7 else decline()
    trial.SCRIPT["capture"] = lambda: None if chance.random() < 0.8 else decline()
    ids = [trial.begin() for _ in range(30)]
    broker.take()

    def decline():
        raise Rejected("declined")

    def worker(seed):
        chance = random.Random(seed)
        for _ in range(40):
            saga_id = chance.choice(ids)
            act = chance.random()
            if act < 0.05:
                cancel(saga_id, reason="no", by="alice")
            elif act < 0.25:
                undo(saga_id)
            else:
                low = chance.randint(1, 4)
                forward(saga_id, low, chance.randint(low, 4), swept=True)

    assert raised(together(*[lambda seed=seed: worker(seed) for seed in range(4)])) == []
    bring_to_an_end(broker, *ids)
    for saga_id in ids:
        check_books(saga_id)
    assert {row(saga_id).status for saga_id in ids} == {"completed", "compensated"}
