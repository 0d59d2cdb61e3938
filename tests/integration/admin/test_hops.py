"""Everything that one click has led to, over all contexts and in order."""

import pytest

from sagas.admin.detail import gather
from sagas.core.keys import Direction
from sagas.models import DeadLetter, SagaInstance
from sagas.orchestration import executor
from sagas.outbox import subscriptions
from tests.factories import a_customer, a_sku, an_order
from tests.integration.orders.board import close, spread

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def order():
    """An order whose first step is done, and nothing of which is delivered."""
    a_sku("MUG", stock=5)
    placed = an_order(("MUG", 2), customer=a_customer())
    executor.run_link(placed.saga_id, 1, 1, Direction.DO)
    return placed


def hops(order):
    saga = SagaInstance.objects.get(id=order.saga_id)
    return gather(saga).hops


def test_every_hop_of_a_click_is_listed_in_the_order_in_which_it_happened(order):
    spread()

    found = hops(order)
    assert [hop.at for hop in found] == sorted(hop.at for hop in found)
    seen = [(hop.context, hop.kind, hop.what) for hop in found]
    assert ("orders", "saga", "orders.checkout began") in seen
    assert ("orders", "event", "orders.OrderPlaced #1") in seen
    assert ("orders", "step", "reserve_stock do: done") in seen
    assert seen[-1] == ("orders", "heard", "orders.OrderPlaced #1")


def test_hops_are_there_while_nothing_is_delivered(order):
    kinds = {hop.kind for hop in hops(order)}

    assert kinds == {"saga", "step", "event"}


def test_what_could_not_be_handled_is_a_hop(order, monkeypatch):
    def refuse(_event):
        raise RuntimeError("no")

    broken = [
        subscriptions.Subscription(
            event=one.event,
            version=one.version,
            context=one.context,
            payload=one.payload,
            handler=refuse,
        )
        for one in subscriptions.SUBSCRIPTIONS["orders.OrderPlaced", 1]
    ]
    monkeypatch.setitem(subscriptions.SUBSCRIPTIONS, ("orders.OrderPlaced", 1), broken)
    spread()

    assert DeadLetter.objects.count() == 1
    [letter] = [hop for hop in hops(order) if hop.kind == "dead letter"]
    assert (letter.context, letter.what) == ("orders", "orders.OrderPlaced #1: RuntimeError: no")


def test_the_hops_of_another_click_are_left_out(order):
    an_order(("MUG", 1), customer=a_customer())
    close(order, "canceled")  # by somebody else, later

    told = [hop.what for hop in hops(order) if hop.what.startswith("orders.Order")]
    assert told == ["orders.OrderPlaced #1"]
