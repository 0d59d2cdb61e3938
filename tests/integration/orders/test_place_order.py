from datetime import date
from decimal import Decimal

import pytest

from orders.models import CartLine, Order, OrderLine, Outbox
from orders.refusals import OrderRefused, ReferenceTaken, UnknownOrder
from orders.services import (
    Line,
    PricedLine,
    cancel_order,
    draft_from_cart,
    empty_cart,
    place,
    place_order,
    put_in_cart,
    set_active,
)
from sagas.api import Cancellation, OutsideTransaction, transaction
from sagas.ids import uuid7
from sagas.models import SagaInstance
from sagas.transactions import is_detached
from tests.factories import a_customer, a_method, a_sku, an_order

pytestmark = pytest.mark.usefixtures("committed_db")


def refused(*lines, customer=None, method=None):
    customer = customer or a_customer()
    with pytest.raises(OrderRefused) as caught:
        place_order(
            customer_id=customer.id,
            lines=lines,
            payment_method_id=method or a_method(customer),
        )
    assert not Order.objects.exists()
    assert not SagaInstance.objects.exists()
    return [(problem.code, problem.field, problem.line) for problem in caught.value.problems]


def test_an_order_its_event_and_its_checkout_are_one_commit():
    a_sku("MUG", price="250")
    a_sku("TEA", price="33.3333")

    order = an_order(("MUG", 2), ("TEA", 3))

    assert (order.status, order.goods, order.total, order.currency) == ("pending", 600, 600, "GBP")
    lines = OrderLine.objects.filter(order=order).order_by("position")
    assert list(lines.values_list("position", "sku_code", "quantity", "line_total")) == [
        (1, "MUG", 2, 500),
        (2, "TEA", 3, 100),
    ]
    event = Outbox.objects.get(type="orders.OrderPlaced")
    assert (event.aggregateid, event.sequence) == (order.id, 1)
    assert [line["line_total"] for line in event.payload["lines"]] == [500, 100]
    saga = SagaInstance.objects.get()
    assert (saga.id, saga.name, saga.subject_id) == (order.saga_id, "orders.checkout", order.id)
    assert saga.key == str(order.id)


def test_order_numbers_differ_and_rise():
    a_sku()

    numbers = [int(an_order(("MUG", 1)).number) for _ in range(3)]

    assert numbers == sorted(set(numbers))


def test_every_problem_is_told_with_its_line():
    a_sku("MUG")
    a_sku("OLD")
    set_active(sku="OLD", active=False)
    lines = [
        Line(sku="MUG", quantity=0),
        Line(sku="NONE", quantity=1),
        Line(sku="OLD", quantity=1),
        Line(sku="MUG", quantity=10**9),
        Line(sku="MUG", quantity=1),
    ]

    assert refused(*lines, method=uuid7()) == [
        ("bad_quantity", "lines[0].quantity", 0),
        ("unknown_sku", "lines[1].sku", 1),
        ("inactive_sku", "lines[2].sku", 2),
        ("bad_quantity", "lines[3].quantity", 3),
        ("unknown_payment_method", "payment_method", None),
    ]


def test_an_order_of_nothing_is_refused():
    assert refused() == [("empty_cart", "lines", None)]


def test_the_payment_method_of_somebody_else_is_unknown():
    a_sku()

    assert refused(Line(sku="MUG", quantity=1), method=a_method(a_customer())) == [
        ("unknown_payment_method", "payment_method", None)
    ]


def test_items_of_two_currencies_are_two_orders():
    a_sku("MUG")
    a_sku("CUP", currency="EUR")

    assert refused(Line(sku="MUG", quantity=1), Line(sku="CUP", quantity=1)) == [
        ("mixed_currencies", "lines", None)
    ]


def test_an_order_that_rounds_to_nothing_is_refused():
    a_sku("PIN", price="0.1")

    assert refused(Line(sku="PIN", quantity=4)) == [("total_out_of_range", "lines", None)]


def test_the_largest_quantity_is_a_million():
    a_sku("PIN", price="0.1")

    assert an_order(("PIN", 1_000_000)).total == 100_000


def imported(customer, *lines, **facts):
    return place_order(
        customer_id=customer.id,
        lines=[
            PricedLine(
                sku=sku,
                description=f"{sku} of the file",
                quantity=quantity,
                unit_price=Decimal(price),
                currency="GBP",
            )
            for sku, quantity, price in lines
        ],
        payment_method_id=a_method(customer),
        **facts,
    )


def test_an_imported_order_has_the_prices_of_its_file_and_keeps_its_lines_apart():
    customer = a_customer()

    order = imported(
        customer,
        ("85123A", 6, "255"),
        ("85123A", 1, "249.5"),
        reference="536365",
        business_date=date(2010, 12, 1),
    )

    assert (order.total, order.reference, order.business_date) == (
        1780,
        "536365",
        date(2010, 12, 1),
    )
    assert list(order.lines.order_by("position").values_list("description", "line_total")) == [
        ("85123A of the file", 1530),
        ("85123A of the file", 250),
    ]


def test_a_known_reference_is_the_order_it_stands_for():
    customer = a_customer()
    first = imported(customer, ("MUG", 1, "250"), reference="536365")

    again = imported(customer, ("MUG", 7, "1"), reference="536365")

    assert again.id == first.id
    assert Order.objects.count() == SagaInstance.objects.count() == 1


def test_the_reference_of_somebody_else_is_not_shown():
    imported(a_customer(), ("MUG", 1, "250"), reference="536365")

    with pytest.raises(ReferenceTaken):
        imported(a_customer(), ("MUG", 1, "250"), reference="536365")


@pytest.mark.parametrize("price", ["0", "-1", "0.00001", "NaN", "Infinity", "1E+14"])
def test_a_price_that_is_none_is_refused(price):
    with pytest.raises(OrderRefused) as caught:
        imported(a_customer(), ("MUG", 1, price))

    assert [problem.code for problem in caught.value.problems] == ["bad_price"]


def test_a_draft_is_placed_inside_the_transaction_of_its_caller():
    customer = a_customer()
    put_in_cart(customer_id=customer.id, sku=a_sku(), quantity=2)
    draft = draft_from_cart(customer_id=customer.id, payment_method_id=a_method(customer))

    with pytest.raises(OutsideTransaction):
        place(draft)
    with transaction("orders"):
        order = place(draft)

    assert order.total == 500
    assert not CartLine.objects.exists()


def test_a_cart_that_has_changed_is_not_ordered():
    customer = a_customer()
    put_in_cart(customer_id=customer.id, sku=a_sku(), quantity=2)
    draft = draft_from_cart(customer_id=customer.id, payment_method_id=a_method(customer))
    empty_cart(customer_id=customer.id)

    with pytest.raises(Exception, match="The cart has changed"), transaction("orders"):
        place(draft)

    assert not Order.objects.exists()


def test_an_order_can_be_canceled_until_its_checkout_has_turned_round():
    a_sku()
    order = an_order(("MUG", 1))

    first = cancel_order(customer_id=order.customer_id, order_id=order.id, by="alice")
    again = cancel_order(customer_id=order.customer_id, order_id=order.id, by="alice")

    accepted = Cancellation.ASKED if is_detached("orders") else Cancellation.ACCEPTED
    assert (first, again) == (accepted, Cancellation.FINISHED)
    saga = SagaInstance.objects.get()
    assert (saga.status, saga.failure, saga.canceled_by) == (
        "compensating",
        "canceled_by_customer",
        "alice",
    )


def test_the_order_of_somebody_else_cannot_be_canceled():
    a_sku()
    order = an_order(("MUG", 1))

    with pytest.raises(UnknownOrder):
        cancel_order(customer_id=a_customer().id, order_id=order.id, by="mallory")

    assert SagaInstance.objects.get().status == "running"
