import pytest

from orders.progress import Standing
from orders.sagas.checkout import CHECKOUT
from orders.stages import StageState, stages_of
from orders.states import OrderStatus


def shown(status, reason="", standing=None):
    return [(stage.label, stage.state.value) for stage in stages_of(status, reason, standing)]


def test_a_pending_order_shows_what_is_done_and_what_is_left():
    assert shown(OrderStatus.PENDING, standing=Standing(step="authorize_payment")) == [
        ("Order received", "done"),
        ("Items set aside", "done"),
        ("Asking your bank", "current"),
        ("Payment taken", "waiting"),
        ("Invoice written", "waiting"),
        ("Order confirmed", "waiting"),
    ]


@pytest.mark.parametrize("step", [step.name for step in CHECKOUT.steps])
def test_every_step_of_the_checkout_has_a_place_in_the_list(step):
    stages = stages_of(OrderStatus.PENDING, "", Standing(step=step))

    assert [stage.state for stage in stages].count(StageState.CURRENT) == 1


def test_a_confirmed_order_has_everything_done():
    assert {state for _, state in shown(OrderStatus.CONFIRMED)} == {"done"}


@pytest.mark.parametrize(
    ("reason", "last"),
    [
        ("out_of_stock", ("Items not available", "stopped")),
        ("insufficient_funds", ("Bank said no", "stopped")),
        ("deadline", ("Order stopped", "stopped")),
        ("something new", ("Order stopped", "stopped")),
    ],
)
def test_a_failed_order_ends_where_it_failed(reason, last):
    assert shown(OrderStatus.FAILED, reason)[-1] == last


def test_a_canceled_order_promises_nothing_any_more():
    assert shown(OrderStatus.CANCELED, "canceled_by_customer") == [
        ("Order received", "done"),
        ("Order canceled", "stopped"),
    ]


def test_an_order_that_is_being_stopped_says_so():
    standing = Standing(step="authorize_payment", is_compensating=True)

    assert shown(OrderStatus.PENDING, standing=standing)[1] == (
        "Stopping the order and giving everything back",
        "current",
    )


def test_an_order_whose_checkout_is_unknown_begins_with_the_goods():
    assert shown(OrderStatus.PENDING)[1] == ("Setting your items aside", "current")
