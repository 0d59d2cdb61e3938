"""A saga that sends a child: started once, awaited, undone, and called back."""

from collections import Counter
from datetime import timedelta

import pytest

from sagas import clock, failpoints
from sagas.api import (
    Again,
    Cancellation,
    Signaled,
    cancel,
    compensate,
    park,
    resume,
    signal,
    skip,
    transaction,
    uuid7,
)
from sagas.failpoints import FailpointHit
from sagas.models import SagaInstance, Signal, StepFault, StepRun
from sagas.orchestration import canvas, donekeys, orchestrator, pressable
from sagas.orchestration.starting import key_of_a_child
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import locking, trial, waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.waiting import ERRAND, ErrandState, Go
from tests.workers.shop import assert_invariants


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


@pytest.fixture
def fail_at(monkeypatch):
    """Arms one place in this process, for its first pass."""
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


def child_of(saga_id):
    return SagaInstance.objects.get(parent_id=saga_id)


def sent(broker):
    """A parent that waits for a child that waits."""
    saga_id = waiting.begin_parent()
    assert broker.drain() == ["ignored", "ignored"]
    return saga_id


def go(saga_id, name="go"):
    return signal(saga_id, name, Go(), key="1")


def back(broker):
    """A parent whose child has completed, and which waits for the next thing."""
    saga_id = sent(broker)
    assert go(child_of(saga_id).id) is Signaled.DELIVERED
    broker.drain()
    return saga_id


def end(broker, saga_id):
    """Let everything that sleeps look again until the saga has ended."""
    for _ in range(6):
        broker.drain()
        if row(saga_id).finished_at is not None:
            return row(saga_id).status
        for unfinished in SagaInstance.objects.filter(finished_at=None):
            make_due(unfinished.id)
        sweep()
    raise AssertionError("it does not end")


def runs(saga_id, direction):
    return dict(
        StepRun.objects.filter(saga_id=saga_id, direction=direction).values_list("name", "state")
    )


def test_a_parent_waits_for_its_child_and_goes_on_with_what_it_brings(broker):
    saga_id = sent(broker)
    parent, child = row(saga_id), child_of(saga_id)
    assert (parent.waiting_for, parent.wait_until, parent.attempts) == ("child:errand", None, 0)
    assert (child.name, child.parent_step, child.key) == ("payments.errand", 1, f"of {saga_id}")
    assert (child.correlation_id, child.causation_id) == (parent.correlation_id, str(saga_id))
    assert runs(saga_id, "do")["errand"] == "intended"

    go(child.id)
    assert broker.drain() == ["passed", "ignored"]
    assert row(saga_id).state["hold"] == "h1"
    assert row(saga_id).waiting_for == "signal:approve"
    told = Signal.objects.get(saga_id=saga_id)
    assert (told.name, told.key, told.consumed_step) == ("child:1", str(child.id), 1)
    assert told.payload["status"] == "completed"
    assert StepRun.objects.get(saga_id=saga_id, step_no=1).reply["child"] == str(child.id)

    go(saga_id, "approve")
    assert broker.drain() == ["passed"]
    assert trial.effects() == ["take", "hold", "book"]


def test_however_often_the_parent_looks_its_child_is_started_once(broker):
    saga_id = sent(broker)
    for _ in range(3):
        make_due(saga_id)
        sweep()
        assert broker.drain() == ["ignored"]

    assert SagaInstance.objects.filter(name="payments.errand").count() == 1
    assert row(saga_id).attempts == 0


def test_a_parent_killed_while_it_starts_its_child_starts_one(broker, fail_at):
    fail_at("wait.before_commit/errand")
    saga_id = waiting.begin_parent()
    broker.drain()
    assert SagaInstance.objects.filter(parent_id=saga_id).count() == 0

    make_due(saga_id)
    sweep()
    assert broker.drain() == ["ignored", "ignored"]
    assert child_of(saga_id).waiting_for == "signal:go"


def test_a_parent_killed_after_it_has_started_its_child_is_still_told(broker, fail_at):
    fail_at("wait.committed/errand")
    saga_id = waiting.begin_parent()
    with pytest.raises(FailpointHit):
        broker.drain()
    child = child_of(saga_id)
    make_due(child.id)
    sweep()
    broker.drain()
    go(child.id)

    broker.drain()
    assert row(saga_id).waiting_for == "signal:approve"


def test_a_child_killed_before_its_last_commit_tells_nothing_and_ends_later(broker, fail_at):
    saga_id = sent(broker)
    fail_at("step.before_commit/go")
    go(child_of(saga_id).id)
    broker.drain()
    assert Signal.objects.filter(saga_id=saga_id).count() == 0
    assert row(saga_id).waiting_for == "child:errand"

    make_due(child_of(saga_id).id)
    sweep()
    broker.drain()
    assert row(saga_id).waiting_for == "signal:approve"


def test_a_parent_whose_bell_was_never_rung_is_found_by_the_sweeper(broker, fail_at):
    saga_id = sent(broker)
    fail_at("child.committed")
    go(child_of(saga_id).id)
    assert broker.drain() == ["passed"]
    parent = row(saga_id)
    assert (parent.waiting_for, parent.not_before) == ("child:errand", None)
    assert parent.due_at - clock.real() < timedelta(seconds=2)

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).waiting_for == "signal:approve"


def test_a_child_that_is_compensated_is_a_no_for_its_parent(broker):
    saga_id = sent(broker)
    clock.travel(timedelta(hours=1))

    assert end(broker, saga_id) == "compensated"
    assert child_of(saga_id).failure == "not_signaled"
    assert (row(saga_id).failure, row(saga_id).failed_step) == ("not_signaled", "errand")
    assert StepFault.objects.get(saga_id=saga_id).kind == "rejected"
    assert trial.effects() == ["take", "hold", "release", "put_back"]
    assert runs(saga_id, "undo")["errand"] == "nothing"


def test_an_operator_who_turns_the_child_round_turns_the_parent_round(broker):
    saga_id = sent(broker)
    compensate(child_of(saga_id).id, by="alice", reason="a mistake")

    assert end(broker, saga_id) == "compensated"
    assert row(saga_id).failure == "a mistake"


def test_a_parent_that_turns_round_calls_its_child_back_and_waits_for_it(broker):
    saga_id = sent(broker)
    cancel(saga_id, reason="no", by="alice")
    message, *more = broker.take()
    assert (broker.run_chain(message), more) == ("ignored", [])
    parent, child = row(saga_id), child_of(saga_id)
    assert (parent.status, parent.cursor) == ("compensating", 1)
    assert (parent.waiting_for, parent.attempts) == ("child:errand", 0)
    assert (child.status, child.failure) == ("compensating", "parent_compensates")
    assert child.canceled_by == "orders.parent"

    assert broker.drain() == ["passed", "passed"]
    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take", "hold", "release", "put_back"]


@pytest.mark.parametrize("place", ["wait.before_commit/undo.errand", "cancel.committed"])
def test_a_parent_killed_while_it_calls_its_child_back_ends_all_the_same(broker, fail_at, place):
    saga_id = sent(broker)
    cancel(saga_id, reason="no", by="alice")
    fail_at(place)

    assert end(broker, saga_id) == "compensated"
    assert trial.effects() == ["take", "hold", "release", "put_back"]


def test_a_parent_that_turns_round_before_its_child_has_nothing_to_call_back(broker):
    saga_id = waiting.begin_parent()
    cancel(saga_id, reason="no", by="alice")

    assert end(broker, saga_id) == "compensated"
    assert SagaInstance.objects.filter(parent_id=saga_id).count() == 0
    assert trial.effects() == []


def test_what_a_completed_child_has_done_is_undone_by_its_parent(broker):
    saga_id = back(broker)
    cancel(saga_id, reason="no", by="alice")

    assert end(broker, saga_id) == "compensated"
    assert child_of(saga_id).status == "completed"
    assert trial.effects() == ["take", "hold", "return h1", "put_back"]
    assert runs(saga_id, "undo")["errand"] == "done"


def test_a_child_that_completed_before_its_parent_looked_is_undone_with_what_it_brought(broker):
    saga_id = sent(broker)
    go(child_of(saga_id).id)
    [message] = broker.take()
    assert broker.run_chain(message) == "passed"
    broker.take()
    cancel(saga_id, reason="no", by="alice")

    assert end(broker, saga_id) == "compensated"
    assert trial.effects() == ["take", "hold", "return h1", "put_back"]


def test_a_parked_parent_learns_of_its_child_when_it_is_resumed(broker):
    saga_id = sent(broker)
    park(saga_id, by="alice", reason="look into it")
    go(child_of(saga_id).id)
    broker.drain()
    assert row(saga_id).waiting_for == "child:errand"

    resume(saga_id, by="alice", reason="fine")
    broker.drain()
    assert row(saga_id).waiting_for == "signal:approve"


def test_a_step_whose_child_still_runs_is_not_skipped_on_the_way_back(broker):
    """Else the parent is compensated, and what its child does later is undone by nobody."""
    saga_id = sent(broker)
    child = child_of(saga_id).id
    cancel(saga_id, reason="no", by="alice")
    for _ in ("book", "approve"):
        park(saga_id, by="alice", reason="look")
        assert skip(saga_id, by="bob", reason="by hand") is True
    park(saga_id, by="alice", reason="look")

    assert skip(saga_id, by="bob", reason="by hand") is False
    why = "its child still runs: resume it, which calls the child back"
    assert pressable.skip(row(saga_id)) == why
    compensate(child, by="bob", reason="by hand")
    broker.drain()
    assert (row(child).status, pressable.skip(row(saga_id))) == ("compensated", None)
    assert skip(saga_id, by="bob", reason="by hand") is True
    broker.drain()
    assert row(saga_id).status == "compensated"


def test_a_key_that_belongs_to_somebody_else_is_a_fault_that_names_it(broker):
    with transaction("payments"):
        other = orchestrator.start(ERRAND, ErrandState(subject=waiting.uuid7()), key="taken")
    saga_id = waiting.begin_parent(key="taken")
    broker.drain()

    [fault] = StepFault.objects.filter(saga_id=saga_id)
    assert fault.error == "ChildTaken: payments.errand taken was started by somebody else"
    assert row(other).parent_id is None


@pytest.mark.parametrize("key", ["order-7#2", "order-7#0", "#1", "order-7#2~", "a\n#3"])
def test_a_parent_whose_childs_key_ends_like_a_later_runs_goes_on(broker, key):
    """The number is another run's of the same saga, which is there already."""
    with transaction("payments"):
        orchestrator.start(ERRAND, ErrandState(subject=waiting.uuid7()), key="order-7")
    compensate(SagaInstance.objects.get(key="order-7").id, by="alice", reason="for another run")
    broker.drain()
    with transaction("payments"):
        later = orchestrator.start(
            ERRAND, ErrandState(subject=waiting.uuid7()), key="order-7", again=Again.AFTER_END
        )
    broker.drain()
    assert row(later).key == "order-7#2"

    saga_id = waiting.begin_parent(key=key)
    broker.drain()
    child = child_of(saga_id)
    assert (child.key, child.run) == (f"{key}~", 1)
    assert not StepFault.objects.filter(saga_id=saga_id).exists()
    for _ in range(2):
        make_due(saga_id)
        sweep()
        broker.drain()
    assert SagaInstance.objects.filter(parent_id=saga_id).count() == 1
    go(child.id)
    broker.drain()
    go(saga_id, "approve")
    broker.drain()
    assert row(saga_id).status == "completed"


def test_two_keys_of_children_stay_two():
    keys = [
        f"{start}{number}{end}"
        for start in ("", "a", "a#")
        for number in ("", "#1", "#12")
        for end in ("", "~", "~~", "x", "#", "\n")
    ]

    assert len({key_of_a_child(key) for key in set(keys)}) == len(set(keys))
    assert key_of_a_child("of order-7") == "of order-7"


# -- parents whose children want what the other one has --------------------------------------------


@pytest.fixture
def circle(broker):
    """Two that have an order each, and whose children wait for that of the other."""
    locking.register()
    orders = uuid7(), uuid7()
    parents = [locking.begin_owner(*pair) for pair in (orders, orders[::-1])]
    broker.drain()
    assert [row(each).waiting_for for each in parents] == ["child:errand"] * 2
    assert [child_of(each).past_return for each in parents] == [True] * 2
    return parents


@pytest.mark.parametrize("parked", [False, True])
def test_a_circle_of_children_that_wait_for_a_lock_is_broken_by_a_deadline(broker, circle, parked):
    for each in circle if parked else ():
        assert park(child_of(each).id, by="alice", reason="look into it")
    clock.travel(timedelta(hours=3))
    ends = [end(broker, each) for each in circle]

    assert ends == ["compensated"] * 2
    assert [row(each).failure for each in circle] == ["deadline"] * 2
    assert trial.effects() == []


@pytest.mark.parametrize("whose", [row, child_of])
@pytest.mark.parametrize("act", [cancel, compensate])
def test_whoever_turns_one_of_a_circle_round_lets_the_other_go_on(broker, circle, whose, act):
    target = whose(circle[0])
    assert pressable.compensate(target) is None
    act(target.id, reason="they wait for each other", by="alice")

    assert [end(broker, each) for each in circle] == ["compensated", "completed"]
    assert trial.effects() == ["book", "book"]
    assert pressable.compensate(child_of(circle[1])) == "it has ended (completed)"


@pytest.mark.parametrize(
    "place",
    ["cancel.before_commit", "cancel.committed", "wait.before_commit/undo.errand"],
)
def test_a_circle_outlives_whoever_is_killed_while_it_is_broken(broker, circle, fail_at, place):
    compensate(circle[0], by="alice", reason="they wait for each other")
    fail_at(place)

    assert [end(broker, each) for each in circle] == ["compensated", "completed"]
    assert trial.effects() == ["book", "book"]


def test_a_child_that_is_needed_past_the_return_of_its_parent_breaks_no_circle(broker, circle):
    """What makes it needed is where the parent stands, and not that there is one."""
    SagaInstance.objects.filter(id=circle[0]).update(past_return=True)
    child = child_of(circle[0])

    assert pressable.compensate(child) == "it is past the point of no return"
    assert compensate(child.id, by="alice", reason="they wait for each other") is False
    assert cancel(child.id, by="alice", reason="so it is asked for") is Cancellation.TOO_LATE
    clock.travel(timedelta(hours=3))
    sweep()
    assert child_of(circle[0]).status == "running"
    assert [end(broker, each) for each in circle] == ["completed", "compensated"]


def test_the_invariants_hold_of_parents_and_children_however_they_end(broker):
    waiting_for_child, waiting_for_signal, going, left = (
        make(broker) for make in (sent, back, back, sent)
    )
    for saga_id in (waiting_for_child, waiting_for_signal):
        cancel(saga_id, reason="no", by="alice")
        assert end(broker, saga_id) == "compensated"
    go(going, "approve")
    assert end(broker, going) == "completed"
    clock.travel(timedelta(hours=1))
    assert end(broker, left) == "compensated"

    assert_invariants()


@pytest.mark.parametrize("grace", [2.0, 0.3])
def test_parents_whose_children_have_ended_share_a_message_whatever_the_grace_is(
    broker, monkeypatch, settings, grace
):
    monkeypatch.undo()
    monkeypatch.setattr(canvas, "publish", broker)
    settings.STEP_QUEUES = "shared"
    settings.SAGAS = {**settings.SAGAS, "HINT_GRACE": grace}
    donekeys.client().flushdb()
    parents = [waiting.begin_parent() for _ in range(2)]
    broker.drain()
    children = [SagaInstance.objects.get(parent_id=parent).id for parent in parents]
    donekeys.client().flushdb()
    for child in children:
        assert signal(child, "go", Go(), key="1") is Signaled.DELIVERED
    broker.drain()

    assert [row(child).status for child in children] == ["completed"] * 2
    assert [row(parent).waiting_for for parent in parents] == ["signal:approve"] * 2
