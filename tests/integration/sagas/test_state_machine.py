"""Whatever happens in whatever order: the rules of a dozen lines hold after each thing.

Hypothesis chooses what happens. The short run is the same each time; the long one is not, and also
asks whether it has met every rare event that the guards are there for:

    python3 manage.py test tests/integration/sagas/test_state_machine.py -m long
"""

from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sagas.api import Cancellation, Signaled, cancel, compensate, park, resume, signal
from sagas.models import SagaInstance
from sagas.orchestration import canvas, donekeys, orchestrator, wakes
from sagas.orchestration.sweep import continue_saga, sweep
from sagas.sometimes import PLACES, forget, met
from tests.integration.sagas import kinds, machine
from tests.integration.sagas.machine import ANSWERS, Memory, World
from tests.integration.sagas.waiting import Approved

SHORT = settings(
    max_examples=16,
    stateful_step_count=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(SHORT, max_examples=300, stateful_step_count=60, derandomize=False, print_blob=True)
MOST = 30
TESTS = Path(__file__).parents[2]
any_saga = st.integers(0, 5)
any_answer = st.one_of(st.just("yes"), st.sampled_from(ANSWERS))
any_message = st.integers(0, 20)

# Events that this machine cannot meet, or meets in some long runs only; the tests that always do.
ELSEWHERE = {
    "close.was_done": "integration/sagas/test_link_ends.py",
    "key.raised": "integration/payments/test_provider_keys.py",
    "refusal.repeated": "integration/payments/test_provider_keys.py",
    "hint.lost": "integration/sagas/test_patience.py",
    "event.duplicate": "integration/sagas/test_delivery.py",
    "event.republished": "integration/sagas/test_republish.py",
    "request.replayed": "integration/web/test_idempotency.py",
    "lock.refused": "integration/sagas/test_locks.py",
    "heartbeat.refused": "integration/sagas/test_heartbeats.py",
    **dict.fromkeys(
        ("breaker.opened", "breaker.refused", "breaker.probed", "breaker.closed"),
        "integration/sagas/test_breaker.py",
    ),
}


class Sagas(RuleBasedStateMachine):
    """The engine's public functions in any order, and a model of what must come of it."""

    publish = None
    definition = machine.MACHINE
    memory = Memory()
    numbers = count(1000)
    """Of which the ids of children are made."""

    def __init__(self):
        super().__init__()
        machine.empty_tables()
        self.memory.clear()
        self.world = World()
        type(self).publish(self.world.publish)
        self.ids = []
        type(self).numbers = count(1000)
        self.turned = set()
        self.kept = set()
        self.ended = {}

    # -- what happens ---------------------------------------------------------------------------

    @initialize(answers=st.lists(any_answer, min_size=6, max_size=12))
    def let_things_go_wrong(self, answers):
        self.world.answers = list(answers)

    @rule(answers=st.lists(any_answer, min_size=1, max_size=4))
    def let_more_go_wrong(self, answers):
        self.world.answers = list(answers)

    @rule(number=st.integers(0, 2), approved=st.booleans())
    def start(self, number, approved):
        saga_id = machine.begin(self.definition, str(number))
        if saga_id not in self.ids:
            self.ids.append(saga_id)
            if approved and self.definition in machine.ASKING:
                self.signal(-1, "a")
        assert SagaInstance.objects.filter(parent_id=None).count() == len(self.ids)

    def message(self, number):
        return self.world.bag.pop(number % len(self.world.bag))

    @precondition(lambda self: self.world.bag)
    @rule(number=any_message)
    def deliver(self, number):
        self.world.run(self.message(number))

    @precondition(lambda self: self.world.bag)
    @rule(number=any_message)
    def deliver_twice(self, number):
        links = self.message(number)
        self.world.run(links)
        self.world.run(links)

    @precondition(lambda self: self.world.bag)
    @rule(number=any_message)
    def deliver_in_a_hurry(self, number):
        with self.world.in_a_hurry():
            self.world.run(self.message(number))

    @precondition(lambda self: self.world.bag)
    @rule(number=any_message)
    def drop(self, number):
        self.message(number)

    @precondition(lambda self: self.world.bag)
    @rule(number=any_message, commit=st.integers(1, 4))
    def deliver_and_lose_the_answer_to_a_commit(self, number, commit):
        with self.world.unanswered(commit):
            self.world.run(self.message(number))

    @precondition(lambda self: self.world.bag and len(self.world.frozen) < 2)
    @rule(number=any_message)
    def freeze(self, number):
        self.world.freeze(self.message(number))

    @precondition(lambda self: self.world.frozen)
    @rule()
    def thaw(self):
        self.world.thaw()

    @rule()
    def deliver_everything(self):
        while self.world.bag:
            self.world.run(self.message(0))

    @rule(after=st.booleans())
    def sweep(self, after):
        if after:
            machine.let_time_pass()
            self.memory.forget_wake_ups()
        sweep()
        self.world.after_a_sweep([saga.id for saga in machine.everybody()])

    @rule(minutes=st.integers(1, 4))
    def let_business_time_pass(self, minutes):
        machine.let_business_time_pass(timedelta(minutes=minutes))

    @precondition(lambda self: self.ids)
    @rule(number=any_saga)
    def call_back(self, number):
        continue_saga(self.saga(number).id)

    @precondition(lambda self: self.ids)
    @rule(number=any_saga)
    def cancel(self, number):
        saga = self.saga(number)
        expected = Cancellation.FINISHED
        if saga.status == "running":
            expected = Cancellation.TOO_LATE if saga.past_return else Cancellation.ACCEPTED
        assert cancel(saga.id, reason="changed my mind", by="alice") is expected
        if expected is Cancellation.ACCEPTED:
            self.turned.add(saga.id)

    @precondition(lambda self: self.ids)
    @rule(number=any_saga, act=st.sampled_from([park, resume, compensate]))
    def operate(self, number, act):
        saga = self.saga(number)
        expected = {
            park: saga.finished_at is None and saga.parked_at is None,
            resume: saga.parked_at is not None,
            compensate: saga.status == "running" and not saga.past_return,
        }[act]
        assert act(saga.id, by="bob", reason="to see") is expected
        if act is compensate and expected:
            self.turned.add(saga.id)

    @precondition(lambda self: self.ids and self.definition in machine.ASKING)
    @rule(number=any_saga, key=st.sampled_from("ab"))
    def signal(self, number, key):
        saga = self.saga(number)
        outcome = signal(saga.id, "approve", Approved(by="carol"), key=key)
        if (saga.id, key) in self.kept:
            assert outcome is Signaled.DUPLICATE
        elif saga.status != "running":
            assert outcome is Signaled.FINISHED
        else:
            assert outcome in {Signaled.KEPT, Signaled.DELIVERED, Signaled.TOO_LATE}
            self.kept.add((saga.id, key))

    def saga(self, number):
        there = machine.everybody()
        return there[number % len(there)]

    # -- what holds -----------------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self):
        assert self.world.wrong == []
        effects = machine.effects()
        sagas = machine.everybody()
        branches = machine.open_branches()
        for saga in sagas:
            kinds.check(saga, effects[saga.id], self.world.at_provider[saga.id])
            kinds.check_rows(saga, branches)
            self.look_whether_it_is_final(saga)
        if self.definition is machine.LOCKED:
            unfinished = [saga.id for saga in sagas if saga.finished_at is None]
            self.look_at_the_lock(unfinished, effects)
        for parent in sagas if self.definition is kinds.PARENT else ():
            if parent.parent_id is None:
                children = [saga for saga in sagas if saga.parent_id == parent.id]
                kinds.check_family(parent, children, effects[parent.id])

    def look_at_the_lock(self, unfinished, effects):
        holders = machine.holders()
        assert set(holders) <= set(unfinished), "it had ended, and has the order"
        inside = [saga_id for saga_id in unfinished if effects[saga_id]["take"]]
        assert inside in ([], holders), "in the order beside its holder"

    def look_whether_it_is_final(self, saga):
        assert saga.id not in self.turned or saga.status.startswith("compens")
        if saga.id in self.ended:
            assert (saga.status, saga.fencing_token) == self.ended[saga.id], "it had ended"
        if saga.finished_at is not None:
            self.ended[saga.id] = (saga.status, saga.fencing_token)

    def teardown(self):
        """When nothing goes wrong any more, everything comes to an end."""
        self.world.answers = []
        while self.world.frozen:
            self.world.thaw()
        for _ in range(MOST):
            if not SagaInstance.objects.filter(finished_at=None).exists():
                break
            for saga in machine.everybody():
                resume(saga.id, by="bob", reason="all is well again")
            machine.let_business_time_pass(timedelta(minutes=1))
            machine.let_time_pass()
            self.memory.forget_wake_ups()
            sweep()
            self.deliver_everything()
        self.nothing_is_wrong()
        assert set(self.ended) == {saga.id for saga in machine.everybody()}, "a saga does not end"


@pytest.fixture
def sagas(monkeypatch, trial_saga, settings):
    machine.register()
    monkeypatch.setattr(
        Sagas, "publish", staticmethod(lambda put: monkeypatch.setattr(canvas, "publish", put))
    )
    monkeypatch.setattr(canvas, "depth", lambda _: 0)
    monkeypatch.setattr(orchestrator, "uuid7", lambda: UUID(int=next(Sagas.numbers)))
    monkeypatch.setattr(donekeys, "client", lambda: Sagas.memory)
    monkeypatch.setattr(wakes, "client", lambda: Sagas.memory)
    settings.SAGAS = {**settings.SAGAS, **machine.PATIENT}
    forget()
    return Sagas


WORLDS = {
    "shared": ("shared", machine.MACHINE),
    "per-context": ("per-context", machine.MACHINE),
    "with a lock": ("shared", machine.LOCKED),
    "with groups": ("shared", kinds.FANNED),
    "with groups, per context": ("per-context", kinds.FANNED),
    "with a child": ("shared", kinds.PARENT),
}


@pytest.mark.parametrize("world", WORLDS)
def test_in_whatever_order_things_happen_the_rules_hold(sagas, settings, world):
    settings.STEP_QUEUES, sagas.definition = WORLDS[world]

    run_state_machine_as_test(sagas, settings=SHORT)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_in_many_more_orders_the_rules_hold_and_every_guard_has_bitten(sagas, settings):
    for queues, definition in WORLDS.values():
        settings.STEP_QUEUES, sagas.definition = queues, definition
        run_state_machine_as_test(sagas, settings=LONG)

    never = {name for name, times in met().items() if times == 0}
    assert never - set(ELSEWHERE) == set()


def test_what_the_machine_need_not_meet_is_met_by_a_test_that_is_there():
    assert set(ELSEWHERE) - set(PLACES) == set()
    assert [file for file in ELSEWHERE.values() if not (TESTS / file).exists()] == []
