"""What an operator may skip of a checkout: nothing that goods, money and invoice rely on."""

import pytest

from orders.queries import notifications_of, order_of
from orders.sagas.checkout import CHECKOUT
from payments.api import payment_for_order
from sagas.api import compensate, park, resume, skip
from sagas.core.keys import Direction
from sagas.models import SagaInstance
from sagas.orchestration import canvas, executor, pressable
from tests.factories import a_sku, an_order
from tests.integration.orders.test_checkout_to_the_end import level

pytestmark = pytest.mark.usefixtures("committed_db", "session_provider")

WHO = {"by": "oscar", "reason": "settled by telephone"}


@pytest.fixture
def order():
    a_sku("MUG", stock=5)
    return an_order(("MUG", 2))


def stopped_at(order, step):
    """Run the checkout up to a step, and park it there."""
    number = [each.name for each in CHECKOUT.steps].index(step)
    if number > 1:
        executor.run_link(order.saga_id, 1, number - 1, Direction.DO)
    assert park(order.saga_id, **WHO) is True
    return SagaInstance.objects.get(id=order.saga_id)


@pytest.mark.parametrize("step", ["reserve_stock", "prepare_payment", "authorize_payment"])
def test_a_step_that_later_ones_rely_on_is_not_skipped_and_the_order_can_be_undone(order, step):
    saga = stopped_at(order, step)

    assert skip(order.saga_id, step=step, **WHO) is False

    assert pressable.skip(saga) == (
        f"its definition does not let {step} be missed: mend the cause and resume it, or"
        " compensate it"
    )
    assert compensate(order.saga_id, **WHO) is True
    executor.run_link(order.saga_id, 0, 7, Direction.UNDO)
    assert order_of(order.customer_id, order.id).saga_status == "compensated"
    assert level() == (5, 0)


@pytest.mark.parametrize("step", ["issue_invoice", "confirm_order"])
def test_past_the_capture_nothing_is_skipped_without_which_an_order_is_not_whole(
    order, step, monkeypatch
):
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: None)
    saga = stopped_at(order, step)

    assert skip(order.saga_id, step=step, **WHO) is False

    assert pressable.skip(saga) == (
        f"its definition does not let {step} be missed: mend the cause and resume it"
    )
    assert resume(order.saga_id, **WHO) is True
    executor.run_link(order.saga_id, saga.cursor, 7, Direction.DO)
    assert order_of(order.customer_id, order.id).saga_status == "completed"


def test_a_message_that_cannot_be_written_may_be_missed(order):
    saga = stopped_at(order, "notify_customer")

    assert pressable.skip(saga) is None
    assert skip(order.saga_id, step="notify_customer", **WHO) is True

    shown = order_of(order.customer_id, order.id)
    assert (shown.status, shown.saga_status) == ("confirmed", "completed")
    assert payment_for_order(order.id).status == "captured"
    assert level() == (3, 0)
    assert notifications_of(order.customer_id) == []
