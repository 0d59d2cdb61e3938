"""Orders that end without a checkout, and everything that is told delivered to everybody."""

import itertools

from django.apps import apps

from orders.events import OrderCanceled, OrderConfirmed, OrderFailed, OrderPlaced
from orders.models import Order
from orders.projections import BOARD
from sagas.api import clock, publish, transaction, uuid7
from sagas.outbox.delivery import deliver
from sagas.outbox.subscriptions import consumers_of
from sagas.transactions import ENGINE
from tests.factories import a_customer

CONTEXTS = ("orders", "billing", "payments")
_number = itertools.count(1)


def place(customer=None):
    """An order that is placed and told of, and has no checkout."""
    buyer = customer or a_customer()
    now = clock.now()
    with transaction("orders"):
        order = Order.objects.create(
            number=f"N{next(_number)}",
            customer_id=buyer.id,
            currency="GBP",
            goods=500,
            total=500,
            payment_method_id=uuid7(),
            payment_id=uuid7(),
            saga_id=uuid7(),
            business_date=now.date(),
            placed_at=now,
        )
        publish(
            OrderPlaced(
                order_id=order.id,
                number=order.number,
                customer_id=buyer.id,
                currency="GBP",
                total=500,
                business_date=order.business_date,
                reference=None,
                lines=(),
            ),
            aggregate=order,
        )
    return order


def ending(order, status):
    """The event that tells of an end."""
    facts = {"order_id": order.id, "number": order.number, "customer_id": order.customer_id}
    if status == "confirmed":
        return OrderConfirmed(**facts, currency="GBP", total=500)
    return {"failed": OrderFailed, "canceled": OrderCanceled}[status](**facts, reason="deadline")


def close(order, status):
    """Let an order end, and tell of it."""
    at = "confirmed_at" if status == "confirmed" else "closed_at"
    reason = "" if status == "confirmed" else "deadline"
    with transaction("orders"):
        Order.objects.filter(id=order.id).update(
            **{"status": status, "reason": reason, at: clock.now()}
        )
        publish(ending(order, status), aggregate=order)


def spread():
    """Deliver everything that is told to everybody who listens."""
    for producer in CONTEXTS:
        told = apps.get_model(producer, "Outbox").objects.order_by("position")
        found = list(told.values_list("id", "type"))
        for consumer in (*CONTEXTS, ENGINE):
            if ids := [str(i) for i, name in found if consumer in consumers_of(name)]:
                deliver(producer, consumer, ids)


def events_told():
    """How many events there are that the board is made of."""
    return sum(
        apps.get_model(producer, "Outbox").objects.filter(type__in=names).count()
        for producer, names in BOARD.producers().items()
    )
