"""The reward of billing, watched: orders that earn one, and messages that a test can drop."""

from django.db import connection

from billing.models import Coupon
from orders.events import OrderConfirmed
from orders.models import Notification, Order, Outbox
from orders.services import Line, place_order
from sagas.api import publish, transaction
from sagas.contexts import contexts
from sagas.models import WatchedFlow
from sagas.outbox.delivery import deliver
from sagas.outbox.relay import relay_batch
from sagas.transactions import ENGINE, is_detached
from tests.factories import a_customer, a_method, a_sku


def an_earning_order(quantity=50):
    """An order of 125.00, which earns a coupon; 10 mugs of 2.50 do not."""
    buyer = a_customer()
    return Order.objects.get(
        id=place_order(
            customer_id=buyer.id,
            lines=[Line(sku=a_sku("MUG", stock=100), quantity=quantity)],
            payment_method_id=a_method(buyer),
        ).id
    )


def confirm(order):
    with transaction("orders"):
        tell_of(order)
    return order


def tell_of(order):
    publish(
        OrderConfirmed(
            order_id=order.id,
            number=order.number,
            customer_id=order.customer_id,
            currency=order.currency,
            total=order.total,
        ),
        aggregate=order,
    )


def a_flow(broker):
    """A flow that has just begun; nothing of it has been published."""
    order = an_earning_order()
    broker.take()  # no worker carries its checkout out: a test says when it is confirmed
    publish_all()
    broker.drain()
    confirm(order)
    broker.take()
    if is_detached("orders"):  # then the engine opens the flow when it hears of it
        told = Outbox.objects.filter(aggregateid=order.id).values_list("id", flat=True)
        deliver("orders", ENGINE, [str(event_id) for event_id in told])
    return order


def publish_all():
    for context in contexts():
        while relay_batch(context):
            pass


def carry(broker):
    """Publish and deliver until nothing is left."""
    for _ in range(6):
        publish_all()
        broker.drain()


def flow():
    return WatchedFlow.objects.get()


def make_due(*, overdue=False):
    late = ", deadline_at = clock_timestamp() - interval '1 minute'" if overdue else ""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_watchedflow SET due_at = clock_timestamp() - interval '1 second'"
            f"{late} WHERE finished_at IS NULL AND parked_at IS NULL"
        )


def coupons():
    return list(Coupon.objects.values_list("state", flat=True))


def messages(order):
    told = Notification.objects.filter(order=order).order_by("created_at", "id")
    return list(told.values_list("template", flat=True))
