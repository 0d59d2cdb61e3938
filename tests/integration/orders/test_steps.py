import pytest
from django.db import IntegrityError
from django.db.models.functions import Now

from orders.commands import ConfirmOrder, FailOrder, NotifyCustomer, ReserveStock
from orders.handlers import OrderEnded, tell_of_cancellation, tell_of_failure
from orders.models import Notification, Order, Outbox
from orders.queries import notifications_of
from orders.services import mark_read
from orders.steps import OrderMoved
from sagas.api import transaction
from tests.factories import a_sku, an_order, carry_out

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def order():
    a_sku("MUG", stock=5)
    return an_order(("MUG", 3))


def events():
    return list(Outbox.objects.order_by("position").values_list("type", "sequence"))[-1:]


def test_a_confirmed_order_says_when_and_tells_the_world(order):
    carry_out(ReserveStock(order_id=order.id))

    carry_out(ConfirmOrder(order_id=order.id))

    order.refresh_from_db()
    assert order.status == "confirmed"
    assert order.confirmed_at is not None
    assert events() == [("orders.OrderConfirmed", 2)]


def test_an_order_whose_goods_are_not_reserved_cannot_be_confirmed(order):
    with pytest.raises(Exception, match=str(order.id)):
        carry_out(ConfirmOrder(order_id=order.id))

    order.refresh_from_db()
    assert order.status == "pending"


def test_a_rejected_checkout_leaves_a_failed_order_with_its_reason(order):
    carry_out(FailOrder(order_id=order.id), failure="out_of_stock")

    order.refresh_from_db()
    assert (order.status, order.reason) == ("failed", "out_of_stock")
    assert order.closed_at is not None
    assert events() == [("orders.OrderFailed", 2)]


def test_a_canceled_checkout_leaves_a_canceled_order(order):
    carry_out(FailOrder(order_id=order.id), failure="canceled_by_customer", canceled_by="alice")

    order.refresh_from_db()
    assert (order.status, order.reason) == ("canceled", "canceled_by_customer")
    assert events() == [("orders.OrderCanceled", 2)]


def test_failing_an_order_twice_tells_the_world_once(order):
    carry_out(FailOrder(order_id=order.id), failure="deadline")
    carry_out(FailOrder(order_id=order.id), failure="deadline")

    assert Outbox.objects.filter(type="orders.OrderFailed").count() == 1


def test_a_confirmed_order_is_never_failed(order):
    carry_out(ReserveStock(order_id=order.id))
    carry_out(ConfirmOrder(order_id=order.id))

    with pytest.raises(OrderMoved):
        carry_out(FailOrder(order_id=order.id), failure="deadline")

    order.refresh_from_db()
    assert order.status == "confirmed"


@pytest.mark.parametrize(
    "facts",
    [
        {"status": "confirmed"},
        {"status": "failed", "closed_at": Now()},
        {"status": "canceled", "reason": "why"},
        {"status": "lost"},
        {"total": 1},
    ],
)
def test_the_database_refuses_a_status_without_its_facts(order, facts):
    with pytest.raises(IntegrityError), transaction("orders"):
        Order.objects.filter(id=order.id).update(**facts)


def test_the_customer_hears_of_the_invoice_once(order):
    told = NotifyCustomer(
        order_id=order.id, template="order_confirmed", invoice_number="INV2026-000001"
    )

    carry_out(told)
    carry_out(told)

    (message,) = notifications_of(order.customer_id)
    assert message.subject == f"Order {order.number} is confirmed"
    assert message.body.endswith("the invoice is INV2026-000001.")
    assert not message.is_read


def test_the_customer_hears_once_why_an_order_failed(order):
    carry_out(FailOrder(order_id=order.id), failure="insufficient_funds")
    event = OrderEnded(order_id=order.id)

    for _ in range(2):
        with transaction("orders"):
            tell_of_failure(event)

    (message,) = notifications_of(order.customer_id)
    assert "not enough money on the card" in message.body


def test_the_customer_hears_that_an_order_is_canceled_and_can_take_note(order):
    carry_out(FailOrder(order_id=order.id), failure="fraud suspected", canceled_by="operator")
    with transaction("orders"):
        tell_of_cancellation(OrderEnded(order_id=order.id))

    mark_read(customer_id=order.customer_id)

    (message,) = notifications_of(order.customer_id)
    assert message.is_read
    assert "fraud" not in message.body
    assert Notification.objects.count() == 1
