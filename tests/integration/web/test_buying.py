"""The way from the catalogue to an order and back, form by form, without JavaScript."""

from contextlib import ExitStack

import pytest
from django.db import connections

from orders.models import CartLine, Order, Sku
from orders.queries import cart_of
from orders.services import put_in_cart, set_active
from sagas.models import SagaInstance
from tests.factories import a_method, a_sku, an_order
from tests.integration.web.shopper import a_shopper, form_to, send

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def shopper():
    browser, customer = a_shopper()
    a_method(customer)
    a_sku("MUG", stock=50, price="250")
    return browser, customer


def in_cart(customer):
    return {line.sku: line.quantity for line in cart_of(customer.id).lines}


def checkout_form(browser):
    return form_to(browser.get("/checkout/"), "/checkout/")


def test_from_the_catalogue_to_an_order(shopper):
    browser, customer = shopper

    added = send(browser, form_to(browser.get("/"), "/cart/add/"))
    cart = browser.get(added.headers["Location"])
    changed = send(browser, form_to(cart, "/cart/change/"), quantity="3")
    placed = send(browser, checkout_form(browser))
    order = Order.objects.get()
    page = browser.get(placed.headers["Location"])

    assert (added.status_code, changed.status_code, placed.status_code) == (303, 303, 303)
    assert "It is in your cart." in cart.content.decode()
    assert placed.headers["Location"] == f"/orders/{order.id}/"
    assert (order.total, order.customer_id) == (750, customer.id)
    assert page.status_code == 200
    assert in_cart(customer) == {}


def test_a_form_sent_twice_is_answered_the_same_and_orders_once(shopper):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = checkout_form(browser)

    answers = [send(browser, form) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {303}
    assert {answer.headers["Location"] for answer in answers} == {
        f"/orders/{Order.objects.get().id}/"
    }
    assert SagaInstance.objects.count() == 1


def test_adding_twice_by_one_press_adds_once_and_by_two_adds_twice(shopper):
    browser, customer = shopper
    form = form_to(browser.get("/products/MUG/"), "/cart/add/")

    send(browser, form, quantity="2")
    send(browser, form, quantity="2")
    assert in_cart(customer) == {"MUG": 2}

    send(browser, form_to(browser.get("/products/MUG/"), "/cart/add/"), quantity="2")
    assert in_cart(customer) == {"MUG": 4}


def test_a_form_that_was_sent_with_something_else_is_refused(shopper):
    browser, customer = shopper
    form = form_to(browser.get("/products/MUG/"), "/cart/add/")
    send(browser, form, quantity="2")

    other = send(browser, form, quantity="5")

    assert other.status_code == 422
    assert "Please start again" in other.content.decode()
    assert in_cart(customer) == {"MUG": 2}


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, None])
def test_a_form_that_has_lost_its_key_does_nothing(shopper, key):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = checkout_form(browser)
    form.fields.pop("idempotency_key")

    refused = send(browser, form, **({} if key is None else {"idempotency_key": key}))

    assert refused.status_code == 400
    assert Order.objects.count() == 0


def test_a_line_is_taken_out_of_the_cart(shopper):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)

    form = form_to(browser.get("/cart/"), "/cart/change/")
    removed = send(browser, form, quantity="0")

    assert removed.status_code == 303
    assert in_cart(customer) == {}
    assert "Nothing in it yet" in browser.get("/cart/").content.decode()


@pytest.mark.parametrize("quantity", ["-1", "", "x", "1.5", "1000001", "9" * 30])
def test_a_quantity_that_is_none_is_explained(shopper, quantity):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = form_to(browser.get("/cart/"), "/cart/change/")

    refused = send(browser, form, quantity=quantity)

    assert refused.status_code == 422
    assert "Enter a whole number from 1 to 1,000,000." in refused.content.decode()
    assert in_cart(customer) == {"MUG": 2}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"quantity": "0"}, "0 is not a quantity of MUG."),
        ({"quantity": "999999"}, "is not a quantity of MUG."),
        ({"sku": "NONE"}, "There is no item"),
        ({"sku": ""}, "This field is required."),
        ({"sku": "M\0G"}, "Null characters are not allowed."),
    ],
)
def test_what_cannot_be_added_is_explained(shopper, fields, words):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = form_to(browser.get("/products/MUG/"), "/cart/add/")

    refused = send(browser, form, **fields)

    assert refused.status_code == 422
    assert words in refused.content.decode()
    assert 'role="alert"' in refused.content.decode()
    assert in_cart(customer) == {"MUG": 2}


def test_an_item_that_left_the_shop_is_explained(shopper):
    browser, customer = shopper
    form = form_to(browser.get("/products/MUG/"), "/cart/add/")
    set_active(sku="MUG", active=False)

    refused = send(browser, form)

    assert "no longer for sale" in refused.content.decode()
    assert in_cart(customer) == {}


def test_a_total_that_has_changed_is_shown_before_it_is_charged(shopper):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = checkout_form(browser)
    Sku.objects.update(unit_price=300)

    refused = send(browser, form)
    page = refused.content.decode()

    assert refused.status_code == 422
    assert "The total has changed" in page
    assert "Place order and pay £6.00" in page
    assert Order.objects.count() == 0
    assert send(browser, form_to(refused, "/checkout/")).status_code == 303


def test_other_items_of_the_same_total_are_shown_before_they_are_ordered(shopper):
    browser, customer = shopper
    a_sku("CUP", stock=50, price="250")
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = checkout_form(browser)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=1)
    put_in_cart(customer_id=customer.id, sku="CUP", quantity=1)

    refused = send(browser, form)

    assert refused.status_code == 422
    assert "The cart has changed" in refused.content.decode()
    assert Order.objects.count() == 0
    assert send(browser, form_to(refused, "/checkout/")).status_code == 303


def test_a_page_that_did_not_say_what_it_showed_is_shown_again(shopper):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = checkout_form(browser)
    form.fields.pop("contents")

    refused = send(browser, form)

    assert "The cart has changed" in refused.content.decode()
    assert send(browser, form_to(refused, "/checkout/")).status_code == 303


def test_a_cart_that_another_window_has_emptied_places_nothing(shopper):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = checkout_form(browser)
    CartLine.objects.all().delete()

    refused = send(browser, form)

    assert refused.status_code == 422
    assert "There is nothing to order" in refused.content.decode()
    assert Order.objects.count() == 0


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("", "Choose how to pay."),
        ("x", "Choose one of your cards."),
        ("018f0000-0000-7000-8000-000000000000", "You have no such payment method."),
    ],
)
def test_a_way_to_pay_that_is_none_is_explained(shopper, method, words):
    browser, customer = shopper
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)

    refused = send(browser, checkout_form(browser), payment_method=method)

    assert refused.status_code == 422
    assert words in refused.content.decode()
    assert Order.objects.count() == 0
    assert in_cart(customer) == {"MUG": 2}


def test_whoever_has_no_card_is_told_so():
    browser, customer = a_shopper()
    a_sku("MUG")
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=1)

    page = browser.get("/checkout/").content.decode()

    assert "You have no card with us yet" in page
    assert '<button class="button full" disabled>' in page


def test_every_card_says_what_it_does(shopper):
    browser, customer = shopper
    for token in ("card_declined", "card_slow", "card_timeout_after"):
        a_method(customer, token)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=1)

    page = browser.get("/checkout/").content.decode()

    assert page.count("Test card</span>") == 4
    assert "The bank declines. Nothing is charged." in page


def test_an_order_is_taken_back_after_asking_once_more(shopper):
    browser, customer = shopper
    order = an_order(("MUG", 1), customer=customer)
    form = form_to(browser.get(f"/orders/{order.id}/cancel/"), f"/orders/{order.id}/cancel/")

    answers = [send(browser, form) for _ in range(2)]

    assert [(one.status_code, one.headers["Location"]) for one in answers] == [
        (303, f"/orders/{order.id}/")
    ] * 2
    assert SagaInstance.objects.get().canceled_by == f"customer {customer.id}"
    page = browser.get(f"/orders/{order.id}/").content.decode()
    assert "We are stopping this order." in page
    assert browser.get(f"/orders/{order.id}/cancel/").headers["Location"] == f"/orders/{order.id}/"


def test_an_order_that_can_no_longer_be_taken_back_says_so(shopper):
    browser, customer = shopper
    order = an_order(("MUG", 1), customer=customer)
    form = form_to(browser.get(f"/orders/{order.id}/cancel/"), f"/orders/{order.id}/cancel/")
    SagaInstance.objects.update(past_return=True)

    answer = send(browser, form)
    page = browser.get(answer.headers["Location"]).content.decode()

    assert answer.status_code == 303
    assert "It was too late to cancel" in page
    assert SagaInstance.objects.get().status == "running"


def test_an_order_that_is_being_stopped_can_be_stopped_again(shopper):
    browser, customer = shopper
    order = an_order(("MUG", 1), customer=customer)
    address = f"/orders/{order.id}/cancel/"
    one, two = (form_to(browser.get(address), address) for _ in range(2))

    answers = [send(browser, form).headers["Location"] for form in (one, two)]

    assert answers == [f"/orders/{order.id}/"] * 2


def test_somebody_elses_order_cannot_be_taken_back(shopper):
    _, customer = shopper
    order = an_order(("MUG", 1), customer=customer)
    stranger, theirs = a_shopper("bob")
    own = an_order(("MUG", 1), customer=theirs)
    form = form_to(stranger.get(f"/orders/{own.id}/cancel/"), f"/orders/{own.id}/cancel/")
    form.action = f"/orders/{order.id}/cancel/"

    assert send(stranger, form).status_code == 404
    assert SagaInstance.objects.get(id=order.saga_id).status == "running"


def test_a_page_of_the_shop_takes_few_questions_to_the_database(shopper):
    browser, _ = shopper
    for number in range(20):
        a_sku(f"ITEM-{number}")
    asked = []

    def count(execute, sql, params, many, context):
        asked.append(sql)
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(connections[alias].execute_wrapper(count))
        browser.get("/")

    assert len(asked) <= 7, asked
