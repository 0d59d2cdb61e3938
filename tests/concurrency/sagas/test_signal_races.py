"""A signal and a saga that falls asleep, at the same moment: no wake-up is lost.

See Note [First the row, then the signals] in ``sagas/orchestration/waits.py``.
"""

from collections import Counter
from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection

from sagas import clock
from sagas.api import Signaled, cancel, signal
from sagas.core.keys import Direction
from sagas.models import SagaInstance, Signal, StepFault
from sagas.orchestration import children, signals, waits
from sagas.orchestration.executor import run_link
from tests.concurrency.sagas.races import Gate, until_somebody_waits_for_a_lock
from tests.concurrency.sagas.test_races import (
    bring_to_an_end,
    effects_of,
)
from tests.integration.sagas import waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_waits import forward
from tests.integration.sagas.waiting import Approved
from tests.together import raised, together


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


def approve(saga_id, key="1"):
    return signal(saga_id, "approve", Approved(by="alice"), key=key)


# By how many queries each of two comes late: each side is first by far in some rounds.
LATE = ((0, 800), (20, 0), (0, 0), (0, 20), (800, 0))


def late(queries, action):
    def act():
        with connection.cursor() as cursor:
            for _ in range(queries):
                cursor.execute("SELECT 1")
        return action()

    return act


def assert_no_wake_up_is_lost(saga_id, waited_for="signal:approve"):
    saga = row(saga_id)
    waits_on = saga.not_before is not None and saga.waiting_for == waited_for
    unread = Signal.objects.filter(saga_id=saga_id, consumed_at=None).count()
    assert not (waits_on and unread), "it sleeps, although its signal is there"


def at_once(broker, monkeypatch, module, function, first, second):
    """Stop the first in the middle; let the second come as far as it can; go on."""
    gate = Gate()
    saga_id = waiting.begin()
    broker.take()
    original = getattr(module, function)

    def stopped(*arguments):
        gate.wait_here()
        return original(*arguments)

    def other():
        gate.when_reached()
        try:
            return second(saga_id)
        finally:
            gate.open()

    def watcher():
        gate.when_reached()
        until_somebody_waits_for_a_lock(unless=gate.opened.is_set)
        gate.open()

    monkeypatch.setattr(module, function, stopped)
    assert raised(together(lambda: first(saga_id), other, watcher)) == []
    assert_no_wake_up_is_lost(saga_id)
    return saga_id


def signaled_while_it_falls_asleep(broker, monkeypatch):
    return at_once(broker, monkeypatch, waits, "fall_asleep", forward, approve)


def falls_asleep_while_it_is_signaled(broker, monkeypatch):
    return at_once(broker, monkeypatch, signals, "_fit", approve, forward)


NEEDED = {
    "lock of who waits": (waits, signaled_while_it_falls_asleep),
    "lock of who signals": (signals, falls_asleep_while_it_is_signaled),
}


@pytest.mark.parametrize("name", NEEDED)
def test_with_both_locks_no_wake_up_is_lost(broker, monkeypatch, name):
    _, scenario = NEEDED[name]

    saga_id = scenario(broker, monkeypatch)
    monkeypatch.undo()
    bring_to_an_end(broker, saga_id)
    assert row(saga_id).status == "completed"


@pytest.mark.parametrize("name", NEEDED)
def test_without_one_of_the_locks_a_wake_up_is_lost(broker, monkeypatch, name):
    module, scenario = NEEDED[name]
    assert module._LOCK.count("FOR UPDATE") == 1
    monkeypatch.setattr(module, "_LOCK", module._LOCK.replace("FOR UPDATE", ""))

    with pytest.raises(AssertionError, match="although its signal is there"):
        scenario(broker, monkeypatch)


def test_of_eight_copies_of_a_signal_one_counts(broker):
    saga_id = waiting.begin()
    broker.drain()

    answers = together(*[lambda: approve(saga_id)] * 8)
    assert Counter(answers) == {Signaled.DELIVERED: 1, Signaled.DUPLICATE: 7}
    bring_to_an_end(broker, saga_id)
    assert row(saga_id).status == "completed"


def moved_while_it_falls_asleep(broker, monkeypatch):
    """The clock is moved between the reading of it and the commit of what was made of it."""
    gate = Gate()
    saga_id = waiting.begin()
    broker.take()

    def stopped(place, *_):
        if place == "wait.before_commit":
            gate.wait_here()

    def traveler():
        gate.when_reached()
        try:
            clock.travel(timedelta(hours=1))
        finally:
            gate.open()

    def watcher():
        gate.when_reached()
        until_somebody_waits_for_a_lock(unless=gate.opened.is_set)
        gate.open()

    monkeypatch.setattr(waits, "failpoint", stopped)
    assert raised(together(lambda: forward(saga_id), traveler, watcher)) == []
    assert row(saga_id).waiting_for == "signal:approve"
    assert row(saga_id).due_at <= clock.real(), "it sleeps past the end of its wait"


def test_a_saga_that_falls_asleep_while_the_clock_is_moved_is_woken(broker, monkeypatch):
    moved_while_it_falls_asleep(broker, monkeypatch)


def test_without_the_lock_of_the_clock_a_saga_sleeps_past_its_end(broker, monkeypatch):
    monkeypatch.setattr(clock, "_TURNING", "SELECT '{}'")
    with pytest.raises(AssertionError, match="it sleeps past the end of its wait"):
        moved_while_it_falls_asleep(broker, monkeypatch)


@pytest.fixture
def trigger_without_its_lock():
    """The end of a child is told without holding the parent's row."""
    told = import_module("sagas.migrations.0005_tell_parent").TELL_PARENT
    create = told.partition("CREATE TRIGGER")[0].replace("CREATE", "CREATE OR REPLACE", 1)
    assert create.count("FOR UPDATE") == 1
    with connection.cursor() as cursor:
        cursor.execute(create.replace("FOR UPDATE", ""))
    yield
    with connection.cursor() as cursor:
        cursor.execute(create)


def parent_with_child(broker):
    saga_id = waiting.begin_parent()
    broker.drain()
    child = SagaInstance.objects.get(parent_id=saga_id).id
    signal(child, "go", waiting.Go(), key="1")
    broker.take()
    return saga_id, child


def child_ends_while_its_parent_falls_asleep(broker, monkeypatch):
    """The parent has looked, its child has not ended; now it does."""
    saga_id, child = parent_with_child(broker)
    make_due(saga_id)
    gate = Gate()
    original = children.fall_asleep

    def stopped(*arguments):
        gate.wait_here()
        original(*arguments)

    def child_ends():
        gate.when_reached()
        try:
            return run_link(child, 0, 1, Direction.DO, swept=True)
        finally:
            gate.open()

    def watcher():
        gate.when_reached()
        until_somebody_waits_for_a_lock(unless=gate.opened.is_set)
        gate.open()

    monkeypatch.setattr(children, "fall_asleep", stopped)
    parent_looks = lambda: run_link(saga_id, 0, 3, Direction.DO, swept=True)  # noqa: E731
    assert raised(together(parent_looks, child_ends, watcher)) == []
    assert row(child).status == "completed"
    assert_no_wake_up_is_lost(saga_id, "child:errand")


def test_a_child_that_ends_while_its_parent_falls_asleep_wakes_it(broker, monkeypatch):
    child_ends_while_its_parent_falls_asleep(broker, monkeypatch)


def test_without_the_lock_of_who_tells_the_end_of_a_child_is_lost(
    broker, monkeypatch, trigger_without_its_lock
):
    with pytest.raises(AssertionError, match="although its signal is there"):
        child_ends_while_its_parent_falls_asleep(broker, monkeypatch)


def test_fifteen_times_a_child_that_ends_and_a_parent_that_turns_round_at_once(broker):
    ends = Counter()
    for round_ in range(15):
        saga_id, child = parent_with_child(broker)
        childs, parents = LATE[round_ % len(LATE)]

        def turn_round(saga_id=saga_id):
            cancel(saga_id, reason="no", by="bob")
            return run_link(saga_id, 0, 3, Direction.UNDO, swept=True)

        acts = [
            late(childs, lambda child=child: run_link(child, 0, 1, Direction.DO)),
            late(parents, turn_round),
        ]
        assert raised(together(*acts)) == []
        assert_no_wake_up_is_lost(saga_id, "child:errand")
        bring_to_an_end(broker, saga_id, child)
        child_end = row(child).status
        undone = {"completed": "return h1", "compensated": "release"}[child_end]
        assert effects_of(saga_id)[-2:] in ([undone, "put_back"], ["take", "put_back"])
        assert (undone in effects_of(saga_id)) or (undone in effects_of(child))
        assert row(saga_id).status == "compensated"
        ends[child_end] += 1
    assert not StepFault.objects.exists()
    assert set(ends) == {"completed", "compensated"}, ends


def test_twenty_times_a_signal_a_saga_that_falls_asleep_and_a_cancel_at_once(broker):
    ends = Counter()
    for round_ in range(20):
        saga_id = waiting.begin()
        broker.take()
        forwards, cancels = LATE[round_ % len(LATE)]
        acts = [
            late(forwards, lambda saga_id=saga_id: forward(saga_id)),
            late(10, lambda saga_id=saga_id: approve(saga_id)),
            late(cancels, lambda saga_id=saga_id: cancel(saga_id, reason="no", by="bob")),
        ]
        assert raised(together(*acts)) == []
        assert_no_wake_up_is_lost(saga_id)
        bring_to_an_end(broker, saga_id)
        ends[row(saga_id).status] += 1
    assert set(ends) == {"completed", "compensated"}, ends
