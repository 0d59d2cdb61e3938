from decimal import Decimal

import pytest
from django.db.models.functions import Now

from orders.commands import ReserveStock
from orders.models import Order
from orders.queries import cart_of, catalogue, order_of, orders_of, product, sku_of
from orders.refusals import BadQuantity, InactiveSku, UnknownSku
from orders.services import NewSku, add_product, add_products, put_in_cart, set_active
from sagas.models import SagaInstance
from sagas.transactions import connection_of
from tests.factories import a_customer, a_sku, an_order, carry_out

pytestmark = pytest.mark.usefixtures("committed_db")


def test_the_catalogue_shows_what_is_for_sale_and_how_much_is_left():
    a_sku("MUG", stock=5)
    a_sku("OLD")
    set_active(sku="OLD", active=False)
    carry_out(ReserveStock(order_id=an_order(("MUG", 2)).id))

    (shown,) = catalogue()

    assert (shown.name, shown.skus[0].code, shown.skus[0].available) == ("The MUG", "MUG", 3)
    assert product(shown.slug) == shown
    assert sku_of("MUG") == shown.skus[0]
    assert sku_of("OLD") is None
    assert [one.name for one in catalogue(search="mug")] == ["The MUG"]
    assert catalogue(search="nothing") == []
    assert catalogue(offset=1) == []


def test_the_catalogue_takes_the_same_number_of_statements_for_any_number_of_products(
    django_assert_num_queries,
):
    add_products(
        [
            NewSku(code=f"S{number}", name=f"Item {number}", unit_price=Decimal(1))
            for number in range(60)
        ]
    )

    with django_assert_num_queries(3, connection=connection_of("orders")):
        assert len(catalogue()) == 50


def test_a_known_item_stays_as_it_is():
    a_sku("MUG", price="250", stock=5)

    assert not add_product(NewSku(code="MUG", name="Other", unit_price=Decimal(1), stock=99))

    assert (sku_of("MUG").unit_price, sku_of("MUG").available) == (Decimal(250), 5)


def test_the_cart_is_priced_and_says_what_cannot_be_had():
    customer = a_customer()
    for sku, stock in (("MUG", 5), ("TEA", 1), ("OLD", 5)):
        put_in_cart(customer_id=customer.id, sku=a_sku(sku, stock=stock), quantity=2)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=3)
    set_active(sku="OLD", active=False)

    cart = cart_of(customer.id)

    assert cart.total == 1750
    assert [(one.sku, one.quantity, one.for_sale, one.enough) for one in cart.lines] == [
        ("MUG", 3, True, True),
        ("TEA", 2, True, False),
        ("OLD", 2, False, True),
    ]


def test_an_item_is_taken_out_of_the_cart_by_asking_for_none():
    customer = a_customer()
    put_in_cart(customer_id=customer.id, sku=a_sku(), quantity=2)

    put_in_cart(customer_id=customer.id, sku="MUG", quantity=0)

    assert cart_of(customer.id).lines == ()


def test_what_cannot_be_ordered_does_not_get_into_the_cart():
    customer = a_customer()
    a_sku("OLD")
    set_active(sku="OLD", active=False)

    for sku, quantity, refusal in (
        ("NONE", 1, UnknownSku),
        ("OLD", 1, InactiveSku),
        ("OLD", -1, BadQuantity),
        ("OLD", 1_000_001, BadQuantity),
    ):
        with pytest.raises(refusal):
            put_in_cart(customer_id=customer.id, sku=sku, quantity=quantity)

    assert cart_of(customer.id).lines == ()


def test_customers_see_their_own_orders_only():
    a_sku()
    alice, mallory = a_customer(), a_customer()
    first = an_order(("MUG", 1), customer=alice)
    second = an_order(("MUG", 2), customer=alice)

    assert [one.id for one in orders_of(alice.id)] == [second.id, first.id]
    assert [one.id for one in orders_of(alice.id, limit=1, offset=1)] == [first.id]
    assert orders_of(alice.id, status="confirmed") == []
    assert orders_of(mallory.id) == []
    assert order_of(mallory.id, first.id) is None


def test_a_pending_order_says_where_its_checkout_stands():
    a_sku()
    order = an_order(("MUG", 2))

    shown = order_of(order.customer_id, order.id)

    assert shown.progress.text == "We are reserving your items."
    assert shown.progress.can_cancel
    assert (shown.status, shown.saga_status, shown.saga_id) == (
        "pending",
        "running",
        order.saga_id,
    )
    assert [(line.sku, line.quantity, line.line_total) for line in shown.lines] == [("MUG", 2, 500)]


def test_an_order_is_shown_when_its_saga_is_long_gone():
    a_sku()
    order = an_order(("MUG", 2))
    SagaInstance.objects.all().delete()
    shown = order_of(order.customer_id, order.id)
    assert (shown.saga_status, shown.progress.can_cancel) == ("running", True), "it is to begin"

    Order.objects.filter(id=order.id).update(status="failed", reason="deadline", closed_at=Now())
    shown = order_of(order.customer_id, order.id)
    assert (shown.saga_status, shown.progress.can_cancel) == ("", False)
