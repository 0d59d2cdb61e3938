import random

import pytest
from django.db.models import Sum

from orders.inventory import services as inventory
from orders.inventory.services import OutOfStock, Wanted
from orders.models import Order, StockLevel, StockReservation
from orders.refusals import CartChanged
from orders.services import (
    Line,
    draft_from_cart,
    place,
    place_order,
    put_in_cart,
    receive_stock,
    register_customer,
)
from sagas.api import transaction
from sagas.ids import uuid7
from tests.factories import a_customer, a_method, a_sku
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("committed_db")


def reserve(*wanted):
    order_id = uuid7()
    with transaction("orders"):
        inventory.reserve(
            order_id,
            [
                Wanted(position=position, sku=sku, quantity=quantity)
                for position, (sku, quantity) in enumerate(wanted, start=1)
            ],
        )
    return order_id


def test_thirty_buyers_of_ten_pieces_are_ten_buyers():
    a_sku("MUG", stock=10)

    outcomes = together(*(lambda: reserve(("MUG", 1)) for _ in range(30)))

    assert [type(one) for one in raised(outcomes)] == [OutOfStock] * 20
    assert StockLevel.objects.values_list("on_hand", "reserved").get() == (10, 10)
    assert StockReservation.objects.count() == 10


def test_buyers_of_many_items_in_any_order_never_deadlock():
    skus = [a_sku(f"S{number}", stock=1000) for number in range(8)]

    def buy(seed):
        shuffled = random.Random(seed)
        for _ in range(10):
            lines = shuffled.sample(skus, k=len(skus))
            order_id = reserve(*((sku, 1) for sku in lines))
            with transaction("orders"):
                (inventory.release if shuffled.random() < 0.5 else inventory.commit)(order_id)

    outcomes = together(*(lambda s=seed: buy(s) for seed in range(10)))

    assert raised(outcomes) == []
    for level in StockLevel.objects.all():
        assert level.reserved == 0
        assert level.on_hand == level.movements.aggregate(sum=Sum("delta"))["sum"]


def test_a_delivery_told_twice_at_the_same_moment_is_received_once():
    a_sku("MUG", stock=0)

    outcomes = together(
        *(lambda: receive_stock(sku="MUG", quantity=7, ref="note 1") for _ in range(6))
    )

    assert sorted(outcomes) == [False] * 5 + [True]
    assert StockLevel.objects.get().on_hand == 7


def test_one_reference_at_the_same_moment_is_one_order():
    a_sku("MUG", stock=10)
    customer = a_customer()
    method = a_method(customer)

    def buy():
        return place_order(
            customer_id=customer.id,
            lines=[Line(sku="MUG", quantity=1)],
            payment_method_id=method,
            reference="536365",
        ).id

    outcomes = together(*(buy for _ in range(6)))

    assert raised(outcomes) == []
    assert len(set(outcomes)) == 1
    assert Order.objects.count() == 1


def test_two_clicks_on_one_cart_are_one_order():
    customer = a_customer()
    put_in_cart(customer_id=customer.id, sku=a_sku("MUG"), quantity=2)
    method = a_method(customer)

    drafts = [draft_from_cart(customer_id=customer.id, payment_method_id=method) for _ in range(4)]

    def order(draft):
        with transaction("orders"):
            return place(draft)

    outcomes = together(*(lambda d=draft: order(d) for draft in drafts))

    assert [type(one) for one in raised(outcomes)] == [CartChanged] * 3
    assert Order.objects.count() == 1


def test_one_customer_reference_at_the_same_moment_is_one_customer():
    def register():
        return register_customer(email="17850@example.com", name="17850", reference="17850").id

    outcomes = together(*(register for _ in range(6)))

    assert raised(outcomes) == []
    assert len(set(outcomes)) == 1
