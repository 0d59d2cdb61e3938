"""Semantic locks: who gets one, who is refused, who waits, and when it is free again."""

import io
import json
import pickle
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core.management import call_command

from sagas import clock
from sagas.api import (
    Cancellation,
    InvalidDefinition,
    Lock,
    Locked,
    Meeting,
    Saga,
    cancel,
    child,
    holder_of,
    parallel,
    park,
    resume,
    retriable,
    saga_status,
    skip,
    start,
    transaction,
    uuid7,
)
from sagas.core.keys import Direction
from sagas.models import SagaInstance, SemanticLock
from sagas.orchestration import pressable, registry, requests, stops, store
from sagas.orchestration.executor import run_link
from sagas.orchestration.orchestrator import compensate, new_saga
from sagas.orchestration.sweep import sweep
from sagas.standing import sentence
from sagas.transactions import engine_transaction
from tests.architecture.source import modules
from tests.databases import rows
from tests.integration.sagas import locking, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.locking import CHANGE, RETURN, STEPS, begin
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.test_sweep import seconds_ahead


@pytest.fixture(autouse=True)
def locking_sagas(trial_saga):
    locking.register()


@pytest.fixture
def order_id():
    return uuid7()


def holder(order_id):
    found = holder_of("orders.order", order_id)
    return None if found is None else found.saga_id


# -- who gets it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("saga", [RETURN, CHANGE], ids=lambda saga: saga.name)
def test_a_saga_has_its_aggregate_from_its_start_to_its_end(broker, order_id, saga):
    saga_id = begin(saga, order_id)
    assert (holder(order_id), row(saga_id).waiting_for) == (saga_id, None)
    broker.drain()

    assert row(saga_id).status == "completed"
    assert holder(order_id) is None
    assert SemanticLock.objects.count() == 0


def test_another_aggregate_is_free(broker, order_id):
    begin(RETURN, order_id)

    assert row(begin(RETURN, uuid7())).waiting_for is None


def test_a_saga_that_refuses_does_not_start_and_says_who_has_it(broker, order_id):
    first = begin(CHANGE, order_id, key="c-1")
    broker.take()
    with pytest.raises(Locked) as refused:
        begin(RETURN, order_id)

    since = SemanticLock.objects.get().taken_at
    assert str(refused.value) == (
        f"orders.order {order_id} has been held by saga orders.change c-1 ({first}) since"
        f" {since:%Y-%m-%d %H:%M:%S} UTC, which is at step take; it is free when that saga has"
        " ended"
    )
    assert (refused.value.holder.saga_id, refused.value.holder.waiting) == (first, 0)
    assert SagaInstance.objects.count() == 1
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.holder) == (str(refused.value), refused.value.holder)


def test_how_a_saga_meets_another_may_be_said_as_a_word():
    assert Lock(on=locking.the_order, meeting="refuse").meeting is Meeting.REFUSE
    assert Lock(on=locking.the_order, meeting="wait").meeting is Meeting.WAIT
    with pytest.raises(ValueError, match="'queue' is not a valid Meeting"):
        Lock(on=locking.the_order, meeting="queue")


def test_a_refusal_that_is_caught_leaves_nothing_in_the_transaction(broker, order_id):
    begin(CHANGE, order_id)
    with transaction("orders"), pytest.raises(Locked):
        start(RETURN, locking.ChangeState(order_id=order_id), key="k")

    assert SagaInstance.objects.count() == 1
    assert SemanticLock.objects.count() == 1


def test_a_saga_that_waits_sleeps_until_the_holder_has_ended(broker, order_id):
    first = begin(RETURN, order_id)
    held = broker.take()
    second = begin(CHANGE, order_id)
    waiter = row(second)

    assert broker.take() == []
    assert (waiter.status, waiter.waiting_for) == ("running", f"lock:orders.order/{order_id}")
    assert waiter.not_before is not None
    assert seconds_ahead(waiter.due_at) == pytest.approx(3600, abs=5)
    assert holder_of("orders.order", order_id).waiting == 1
    assert [broker.run_chain(message) for message in held] == ["passed"]
    assert (holder(order_id), row(second).waiting_for) == (second, None)
    broker.drain()
    assert [row(saga).status for saga in (first, second)] == ["completed", "completed"]
    assert holder(order_id) is None


def test_those_who_wait_get_it_in_the_order_of_their_start(broker, order_id):
    sagas = [begin(CHANGE, order_id) for _ in range(5)]
    ended = []
    trial.SCRIPT["book"] = lambda: ended.append(holder(order_id))
    broker.drain()

    assert ended == sagas
    assert {row(saga).status for saga in sagas} == {"completed"}
    assert holder(order_id) is None


def test_the_same_key_is_the_same_saga_also_while_it_has_or_awaits_the_lock(broker, order_id):
    first, second = begin(CHANGE, order_id, key="a"), begin(CHANGE, order_id, key="b")
    third = begin(RETURN, other := uuid7(), key="r")

    assert begin(CHANGE, order_id, key="a") == first
    assert begin(CHANGE, order_id, key="b") == second
    assert begin(RETURN, other, key="r") == third
    assert SagaInstance.objects.count() == 3


def test_a_start_that_is_rolled_back_leaves_no_lock(broker, order_id):
    class Abandoned(Exception):
        pass

    def abandoned():
        with transaction("orders"):
            start(RETURN, locking.ChangeState(order_id=order_id), key="k")
            raise Abandoned

    with pytest.raises(Abandoned):
        abandoned()
    assert holder(order_id) is None


def test_a_start_that_is_asked_from_elsewhere_is_turned_round_where_it_would_be_refused(
    broker, order_id
):
    first = begin(CHANGE, order_id)
    new = new_saga(RETURN, locking.ChangeState(order_id=order_id), key="r", context="orders")
    with engine_transaction("orders"):
        requests._start(new)
    assert (row(new.saga_id).status, row(new.saga_id).failure) == ("compensating", "locked")
    broker.drain()

    assert [row(saga).status for saga in (first, new.saga_id)] == ["completed", "compensated"]
    assert trial.effects() == ["take", "book"], "of the first alone"


# -- when it is free -------------------------------------------------------------------------------


def test_a_compensation_frees_it_when_it_has_ended_and_not_before(broker, order_id):
    seen = []
    first, second = begin(RETURN, order_id), begin(CHANGE, order_id)
    trial.SCRIPT["book"] = lambda: seen.append(row(first).status)
    cancel(first, reason="no", by="alice")
    assert (row(first).status, holder(order_id)) == ("compensating", first)
    assert "which is undoing step book" in holder_of("orders.order", order_id).words
    broker.drain()

    assert seen == ["compensated"]
    assert row(second).status == "completed"


def test_a_parked_holder_keeps_it_and_whoever_meets_it_is_told(broker, order_id):
    first = begin(RETURN, order_id, key="r-1")
    park(first, by="alice", reason="the provider is down")
    second = begin(CHANGE, order_id)
    broker.drain()
    parked_at = row(first).parked_at

    assert (holder(order_id), row(second).waiting_for is None) == (first, False)
    with pytest.raises(Locked) as refused:
        begin(RETURN, order_id)
    assert (
        f"which is parked since {parked_at:%Y-%m-%d %H:%M:%S} UTC at step take: the provider is"
        " down; it is free when an operator has resumed or compensated that saga and it has ended"
    ) in str(refused.value)
    assert compensate(first, by="alice", reason="not today") is True
    broker.drain()
    assert (row(first).status, row(second).status) == ("compensated", "completed")


def test_a_waiter_that_is_canceled_never_gets_it_and_the_next_one_does(broker, order_id):
    first, second, third = (begin(CHANGE, order_id) for _ in range(3))
    held = broker.take()
    cancel(second, reason="no", by="alice")
    broker.drain()
    assert (row(second).status, row(second).waiting_for) == ("compensated", None)
    assert (holder(order_id), trial.effects()) == (first, [])

    for message in held:
        broker.run_chain(message)
    assert holder(order_id) == third
    broker.drain()
    assert row(third).status == "completed"


def test_a_waiter_is_turned_round_by_its_deadline(broker, order_id):
    first, second = begin(RETURN, order_id), begin(CHANGE, order_id)
    park(first, by="alice", reason="look")
    broker.take()
    clock.travel(timedelta(minutes=61))
    SagaInstance.objects.filter(id=first).update(deadline_at=clock.now() + timedelta(hours=1))
    sweep()
    broker.drain()

    assert (row(second).status, row(second).failure) == ("compensated", "deadline")
    assert (row(first).status, holder(order_id)) == ("running", first)


def book_alone(saga, **changed):
    """The same saga with nothing but its retriable step."""
    return replace(saga, name=f"{saga.name}_alone", steps=saga.steps[1:], **changed)


def test_a_waiter_of_retriable_steps_can_be_canceled_until_it_has_the_lock(
    broker, order_id, monkeypatch
):
    alone = book_alone(CHANGE)
    monkeypatch.setitem(registry.SAGAS, (alone.name, 1), alone)
    first, second, third = begin(CHANGE, order_id), begin(alone, order_id), begin(alone, order_id)
    waiting = row(second)
    assert (waiting.past_return, pressable.compensate(waiting)) == (True, None)
    assert cancel(second, reason="changed my mind", by="customer") is Cancellation.ACCEPTED

    broker.drain()
    assert (row(second).status, row(second).failure) == ("compensated", "changed my mind")
    assert [row(saga).status for saga in (first, third)] == ["completed", "completed"]
    assert trial.effects() == ["take", "book", "book"]


def test_who_has_got_the_lock_past_the_return_is_not_turned_round(broker, order_id, monkeypatch):
    alone = book_alone(CHANGE)
    monkeypatch.setitem(registry.SAGAS, (alone.name, 1), alone)
    first, second = begin(CHANGE, order_id), begin(alone, order_id)
    cancel(first, reason="no", by="alice")
    for message in broker.take():
        broker.run_chain(message)

    assert holder(order_id) == second
    assert cancel(second, reason="changed my mind", by="customer") is Cancellation.TOO_LATE


def by_hand(saga_id):
    assert park(saga_id, by="alice", reason="look")


def by_a_fault(saga_id):
    """Its claims have killed their processes."""
    make_due(saga_id)
    claimed = store.claim(saga_id, status="running", low=0, high=0)
    fault = stops.Fault(
        step_no=0, name="book", direction="do", kind="fault", error="worn out", traceback=""
    )
    stops.record_fault(claimed, fault, delay=0, parked="worn out")


@pytest.mark.parametrize("parks", [by_hand, by_a_fault])
def test_the_deadline_turns_a_waiter_of_retriable_steps_round_also_when_it_is_parked(
    broker, order_id, monkeypatch, parks
):
    alone = book_alone(CHANGE)
    monkeypatch.setitem(registry.SAGAS, (alone.name, 1), alone)
    first, second = begin(RETURN, order_id), begin(alone, order_id)
    broker.take()
    parks(second)
    assert row(second).parked_at is not None
    assert "or its deadline compensates it in" in sentence(row(second), (), clock.real())
    make_due(second)
    sweep()
    assert seconds_ahead(row(second).due_at) == pytest.approx(3600, abs=60)

    clock.travel(timedelta(minutes=61))
    SagaInstance.objects.filter(id=first).update(deadline_at=clock.now() + timedelta(hours=1))
    sweep()
    broker.drain()
    assert (row(second).status, row(second).failure) == ("compensated", "deadline")


def test_the_deadline_turns_a_waiter_of_retriable_steps_round(broker, order_id, monkeypatch):
    alone = book_alone(CHANGE)
    monkeypatch.setitem(registry.SAGAS, (alone.name, 1), alone)
    first, second = begin(RETURN, order_id), begin(alone, order_id)
    park(first, by="alice", reason="look")
    broker.take()
    make_due(second)
    sweep()
    broker.drain()
    assert seconds_ahead(row(second).due_at) == pytest.approx(3600, abs=60)

    clock.travel(timedelta(minutes=61))
    SagaInstance.objects.filter(id=first).update(deadline_at=clock.now() + timedelta(hours=1))
    sweep()
    broker.drain()
    assert (row(second).status, row(second).failure) == ("compensated", "deadline")


@pytest.mark.parametrize("made_of", [CHANGE, book_alone(CHANGE)], ids=["both", "retriable alone"])
def test_a_waiter_whose_message_comes_after_its_deadline_is_turned_round_by_the_next_sweep(
    broker, order_id, monkeypatch, made_of
):
    """It had been rung for before, and the message lay in a queue."""
    monkeypatch.setitem(registry.SAGAS, (made_of.name, 1), made_of)
    first, second = begin(RETURN, order_id), begin(made_of, order_id)
    park(first, by="alice", reason="look")
    clock.travel(timedelta(minutes=61))
    SagaInstance.objects.filter(id=first).update(deadline_at=clock.now() + timedelta(hours=1))
    make_due(second)
    run_link(second, 0, made_of.last, Direction.DO, swept=True)
    sweep()
    broker.drain()

    assert (row(second).status, row(second).failure) == ("compensated", "deadline")
    assert (row(first).status, holder(order_id)) == ("running", first)


def the_key(state: locking.ChangeState) -> str:
    return f"child of {state.order_id}"


def same(state: locking.ChangeState) -> locking.ChangeState:
    return state


def test_a_child_that_would_wait_for_a_saga_above_it_is_a_fault_that_says_what_to_do(
    broker, order_id, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    little = book_alone(CHANGE)
    between = replace(
        book_alone(CHANGE, lock=None),
        name="orders.between",
        steps=(*STEPS[1:], child("little", of=little, start=same, key=the_key)),
    )
    top = replace(
        book_alone(RETURN),
        name="orders.top",
        steps=(*STEPS[1:], child("between", of=between, start=same, key=the_key)),
    )
    for saga in (little, between, top):
        monkeypatch.setitem(registry.SAGAS, (saga.name, 1), saga)
    begin(top, order_id, key="t-1")
    broker.drain()

    assert not SagaInstance.objects.filter(name=little.name).exists()
    told = SagaInstance.objects.get(name=between.name).parked_reason
    assert (
        f"LockedByItsParent: orders.change_alone would wait for orders.order {order_id}, which saga"
        " orders.top t-1 above it has until its own end: give orders.change_alone a version"
        " without that lock, and the parent one whose child it is"
    ) in told


def test_a_child_may_wait_for_a_lock_that_no_saga_above_it_has(broker, order_id, monkeypatch):
    little = book_alone(CHANGE)
    top = replace(
        book_alone(RETURN, lock=None),
        name="orders.top",
        steps=(*STEPS[1:], child("little", of=little, start=same, key=the_key)),
    )
    for saga in (little, top):
        monkeypatch.setitem(registry.SAGAS, (saga.name, 1), saga)
    first = begin(RETURN, order_id)
    held = broker.take()
    parent = begin(top, order_id)
    broker.drain()
    waiter = SagaInstance.objects.get(parent_id=parent)
    assert (waiter.waiting_for is None, waiter.may_turn) == (False, False)
    assert cancel(waiter.id, reason="no", by="alice") is Cancellation.TOO_LATE
    SagaInstance.objects.filter(id=waiter.id).update(deadline_at=waiter.started_at)
    make_due(waiter.id)
    sweep()
    broker.drain()
    assert seconds_ahead(row(waiter.id).due_at) == pytest.approx(3600, abs=60)

    for message in held:
        broker.run_chain(message)
    broker.drain()
    assert (row(first).status, row(parent).status) == ("completed", "completed")


def test_a_waiter_that_is_rung_for_nothing_sleeps_on_at_no_cost(broker, order_id):
    first, second = begin(RETURN, order_id), begin(CHANGE, order_id)
    park(first, by="alice", reason="look")
    clock.travel(timedelta(minutes=10))
    for _ in range(20):
        make_due(second)
        sweep()
        broker.drain()
    waiter = row(second)

    assert (waiter.attempts, waiter.waiting_for is None, waiter.parked_at) == (0, False, None)
    assert seconds_ahead(waiter.due_at) == pytest.approx(3000, abs=60)
    resume(first, by="alice", reason="looked")
    broker.drain()
    assert [row(saga).status for saga in (first, second)] == ["completed", "completed"]


@pytest.mark.parametrize("off", [-600, 600], ids=["behind", "ahead"])
def test_a_machine_whose_clock_is_wrong_lets_a_waiter_sleep_until_its_deadline(
    broker, monkeypatch, order_id, off
):
    begin(RETURN, order_id)
    second = begin(CHANGE, order_id)
    rows(f"UPDATE sagas_saga SET deadline_at = sagas.now() + '5 min' WHERE id = '{second}'")
    make_due(second)
    right = clock.real
    monkeypatch.setattr(clock, "real", lambda: right() + timedelta(seconds=off))
    run_link(second, 0, 1, Direction.DO, swept=True)

    told = rows(f"SELECT due_at - clock_timestamp() FROM sagas_saga WHERE id = '{second}'")
    assert told[0][0].total_seconds() == pytest.approx(300, abs=60)


def test_a_parked_waiter_is_passed_over_and_gets_it_after_it_is_resumed(broker, order_id):
    first, second, third = (begin(CHANGE, order_id) for _ in range(3))
    held = broker.take()
    park(second, by="alice", reason="look")
    for message in held:
        broker.run_chain(message)
    assert (row(first).status, holder(order_id)) == ("completed", third)
    resume(second, by="alice", reason="looked")
    assert broker.drain() != []
    assert [row(saga).status for saga in (second, third)] == ["completed", "completed"]
    assert trial.effects() == ["take", "book"] * 3


def test_a_resumed_waiter_whose_lock_is_free_takes_it(broker, order_id):
    first, second = begin(CHANGE, order_id), begin(CHANGE, order_id)
    park(second, by="alice", reason="look")
    broker.drain()
    assert (row(first).status, holder(order_id)) == ("completed", None)

    seen = []
    trial.SCRIPT["take"] = lambda: seen.append(holder(order_id))
    resume(second, by="alice", reason="looked")
    broker.drain()
    assert seen == [second]
    assert (row(second).status, holder(order_id)) == ("completed", None)


# -- what is shown ---------------------------------------------------------------------------------


def shown(saga_id, *words):
    out = io.StringIO()
    call_command("sagas", "show", str(saga_id), *words, stdout=out)
    return out.getvalue()


def test_holder_and_waiter_are_shown_to_operators_and_pages(broker, order_id):
    first, second = begin(RETURN, order_id, key="r-1"), begin(CHANGE, order_id)
    words = holder_of("orders.order", order_id).words

    assert saga_status(second).waiting_for == f"lock:orders.order/{order_id}"
    assert saga_status(first).waiting_for is None
    assert f"holds            orders.order {order_id}, 1 waits for it" in shown(first)
    assert f"waits for        {words}" in shown(second)
    assert json.loads(shown(first, "--json"))["locks"] == {
        "holds": [{"type": "orders.order", "id": str(order_id), "waiting": 1}],
        "waits_for": None,
    }
    assert json.loads(shown(second, "--json"))["locks"] == {
        "holds": [],
        "waits_for": {"type": "orders.order", "id": str(order_id), "holder": str(first)},
    }


# -- definitions -----------------------------------------------------------------------------------


def on_nothing(state: locking.ChangeState) -> str:
    return ""


@pytest.mark.parametrize("lock", [Lock(on=on_nothing), Lock(on=trial.build_take)])
def test_a_lock_that_names_no_aggregate_is_refused(lock):
    with pytest.raises(InvalidDefinition, match=r"lock: on takes one ChangeState and returns"):
        Saga(
            name="orders.odd",
            version=1,
            state=locking.ChangeState,
            deadline=timedelta(hours=1),
            steps=locking.STEPS,
            lock=lock,
        )


def test_a_lock_makes_another_definition_and_its_answer_does_not():
    def fingerprint(lock):
        return Saga(
            name="orders.odd",
            version=1,
            state=locking.ChangeState,
            deadline=timedelta(hours=1),
            steps=locking.STEPS,
            lock=lock,
        ).fingerprint

    locks = (None, Lock(on=locking.the_order), Lock(on=locking.the_order, meeting=Meeting.WAIT))
    without, refusing, waiting = map(fingerprint, locks)
    assert without != refusing == waiting


# -- every way to end ------------------------------------------------------------------------------


def test_whatever_ends_a_saga_hands_its_lock_on():
    """A commit that ends a saga and forgets its lock would leave it locked for ever."""
    ends = {
        module.name
        for module in modules()
        if module.package == "sagas" and "finished_at = CASE" in module.text
    }
    tells = re.compile(r"\bended\(")
    engine = [m for m in modules() if m.name.startswith("sagas.orchestration.")]
    hands_on = {m.name for m in engine if tells.search(m.text)}

    assert ends == {
        "sagas.orchestration.branch_rows",  # called by group alone
        "sagas.orchestration.skipping",
        "sagas.orchestration.store",
    }
    assert hands_on - {"sagas.orchestration.handover"} == {
        "sagas.orchestration.group",
        "sagas.orchestration.skipping",
        "sagas.orchestration.store",
    }


def test_a_lock_is_freed_though_the_definition_has_none_by_then(
    broker, order_id, monkeypatch, settings
):
    saga_id = begin(RETURN, order_id)
    settings.SILENCED_SYSTEM_CHECKS = ["sagas.E010"]
    monkeypatch.setitem(registry.SAGAS, (RETURN.name, 1), replace(RETURN, lock=None))
    broker.drain()

    assert (row(saga_id).status, holder(order_id)) == ("completed", None)


GROUPED = Saga(
    name="orders.grouped",
    version=1,
    state=locking.ChangeState,
    deadline=timedelta(hours=1),
    steps=(
        locking.STEPS[0],
        parallel(
            retriable("book", do=locking.build_book), retriable("book_more", do=locking.build_book)
        ),
    ),
    lock=Lock(on=locking.the_order, meeting=Meeting.WAIT),
)


def test_a_saga_that_ends_with_a_group_frees_it(broker, order_id, monkeypatch):
    monkeypatch.setitem(registry.SAGAS, ("orders.grouped", 1), GROUPED)
    first, second = begin(GROUPED, order_id), begin(CHANGE, order_id)
    broker.drain()

    assert [row(saga).status for saga in (first, second)] == ["completed", "completed"]
    assert SemanticLock.objects.count() == 0


def test_a_skip_that_ends_a_saga_frees_it_and_one_that_waits_skips_nothing(broker, order_id):
    trial.SCRIPT["book"] = raising(RuntimeError("down"))
    first, second = begin(RETURN, order_id), begin(CHANGE, order_id)
    broker.drain()
    for saga_id in (first, second):
        park(saga_id, by="alice", reason="look")

    assert skip(second, by="alice", reason="not needed") is False
    assert skip(first, by="alice", reason="booked by hand") is True
    assert (row(first).status, holder(order_id)) == ("completed", None)
    resume(second, by="alice", reason="looked")
    broker.drain()
    assert row(second).status == "completed"


def test_a_saga_that_may_wait_cannot_begin_with_a_group():
    with pytest.raises(InvalidDefinition, match="cannot begin with a group"):
        Saga(
            name="orders.odd",
            version=1,
            state=locking.ChangeState,
            deadline=timedelta(hours=1),
            steps=(parallel(*map(ungrouped, GROUPED.steps[1:])),),
            lock=GROUPED.lock,
        )


def ungrouped(step):
    return replace(step, group=None)
