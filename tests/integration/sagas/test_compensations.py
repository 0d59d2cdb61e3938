"""Every compensation of every saga of the product: the books are the same, whenever it runs.

Once or many times, before the forward step, instead of it, after it, and where the step was never
dispatched at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from orders.inventory.models import StockLevel
from orders.models import Order
from payments.api import payment_for_order
from payments.gateways import gateway
from sagas.api import cancel
from sagas.core.keys import Direction
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import carried, registry, steps
from sagas.orchestration.executor import run_link
from tests.factories import a_sku, an_order
from tests.integration.sagas.conftest import make_due

pytestmark = pytest.mark.usefixtures("broker", "session_provider")


@dataclass(frozen=True)
class World:
    """How to begin a saga, and what in the world it may leave behind."""

    begin: Callable[[], Any]
    books: Callable[[Any], Any]
    undone: Any


def begin_checkout():
    a_sku("MUG", stock=5, price="250")
    return an_order(("MUG", 2))


def books_of_checkout(order):
    """Goods, money at the provider, money as we see it, and what the customer is told."""
    intents = gateway().find_by_reference(str(order.payment_id), "books")
    payment = payment_for_order(order.id)
    return (
        StockLevel.objects.values_list("on_hand", "reserved").get(),
        # An intent that a late request has only prepared holds no money, and nobody knows its name.
        sum(intent.authorized for intent in intents if intent.status.value != "canceled"),
        sum(intent.captured for intent in intents),
        (payment.open_hold, payment.captured) if payment else (0, 0),
        Order.objects.get(id=order.id).status,
    )


WORLDS = {
    "orders.checkout": World(
        begin=begin_checkout,
        books=books_of_checkout,
        undone=((5, 0), 0, 0, (0, 0), "canceled"),
    )
}
PRODUCT = [
    saga
    for saga in registry.SAGAS.values()
    if any(step.undo and not step.undo.__module__.startswith("tests.") for step in saga.steps)
]
COMPENSATIONS = [
    pytest.param(saga, number, id=f"{saga.name} {step.name}")
    for saga in PRODUCT
    for number, step in enumerate(saga.steps)
    if step.undo is not None and step.do is not None
]


class Case:
    """One saga of the product that is to be undone."""

    def __init__(self, saga, number):
        self.saga, self.number, self.step = saga, number, saga.steps[number]
        self.world = WORLDS[saga.name]
        self.subject = self.world.begin()
        self.id = SagaInstance.objects.get(name=saga.name).id

    def forward(self, to):
        """Carry it out as far as a step."""
        first = SagaInstance.objects.get(id=self.id).cursor
        if first <= to:
            run_link(self.id, first, to, Direction.DO, swept=True)

    def undo(self):
        return run_link(self.id, 0, self.saga.last, Direction.UNDO, swept=True)

    def undo_once_more(self):
        if SagaInstance.objects.get(id=self.id).finished_at is None:
            make_due(self.id)
            self.undo()

    def turn(self):
        cancel(self.id, reason="changed my mind", by="alice")
        self.undo()

    def run_of_undo(self):
        return StepRun.objects.get(saga_id=self.id, step_no=self.number, direction="undo").state

    def assert_undone(self):
        assert SagaInstance.objects.get(id=self.id).status == "compensated"
        assert self.world.books(self.subject) == self.world.undone


@pytest.fixture
def case(request):
    return Case(*request.param)


def every(compensations):
    return pytest.mark.parametrize(
        "case", [p.values for p in compensations], indirect=True, ids=[p.id for p in compensations]
    )


@every(COMPENSATIONS)
def test_after_the_step_everything_is_as_before(case):
    case.forward(case.number)
    assert case.world.books(case.subject) != case.world.undone

    case.turn()

    case.assert_undone()
    assert case.run_of_undo() == "done"


@every(COMPENSATIONS)
@pytest.mark.parametrize("place", ["call.returned", "step.before_commit"])
def test_many_times_is_once(case, place, monkeypatch):
    case.forward(case.number)
    name = case.step.name
    monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}/undo.{name}=raise")
    case.turn()
    case.undo_once_more()
    monkeypatch.delenv("CONCORD_FAILPOINTS")
    case.undo_once_more()
    for _ in range(3):
        case.undo()

    case.assert_undone()


@every(COMPENSATIONS)
def test_before_the_step_closes_the_door_on_it(case, monkeypatch):
    do_step = carried.do_step

    def late(work):
        if work.number == case.number:
            case.turn()
        return do_step(work)

    monkeypatch.setattr(carried, "do_step", late)
    case.forward(case.number)

    case.assert_undone()
    assert case.run_of_undo() == "nothing"
    assert not StepRun.objects.filter(
        saga_id=case.id, step_no=case.number, direction="do", state="done"
    ).exists()


@every(COMPENSATIONS)
def test_between_the_intent_and_the_call_of_the_step_makes_its_end_final(case, monkeypatch):
    call_out = steps.call_out
    late = []

    def frozen(work, *rest):
        if work.number == case.number and not late:
            late.append(work.step.name)
            case.turn()
        return call_out(work, *rest)

    monkeypatch.setattr(steps, "call_out", frozen)
    case.forward(case.number)
    if not late:
        case.turn()

    case.assert_undone()
    assert case.run_of_undo() == "done"


@every(COMPENSATIONS)
def test_instead_of_the_step_there_is_nothing_to_undo(case):
    case.forward(case.number - 1)

    case.turn()

    case.assert_undone()
    assert case.run_of_undo() == "nothing"


@pytest.mark.parametrize("saga", PRODUCT, ids=lambda saga: saga.name)
def test_where_nothing_was_dispatched_nothing_is_undone_but_what_had_begun(saga):
    case = Case(saga, 0)

    case.turn()

    case.assert_undone()
    runs = StepRun.objects.filter(saga_id=case.id, direction="undo", step_no__gt=0)
    assert set(runs.values_list("state", flat=True)) == {"nothing"}
    assert runs.count() == saga.last


def test_every_saga_with_a_compensation_has_a_world_to_be_undone_in():
    assert {saga.name for saga in PRODUCT} == set(WORLDS)
