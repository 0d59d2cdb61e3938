from collections import Counter

import pytest

from orders.models import Order
from orders.services import put_in_cart
from sagas.models import SagaInstance
from tests.factories import a_method, a_sku
from tests.integration.web.redis_states import STATES, redis_in
from tests.integration.web.shopper import a_program, a_shopper, form_to, send
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("committed_db")
AT_ONCE = 20


@pytest.mark.parametrize("state", STATES)
def test_twenty_copies_of_a_request_place_one_order(state):
    a_sku("MUG", stock=100)
    program = a_program()

    with redis_in(state):
        responses = together(*[lambda: program.order(("MUG", 2), key="k")] * AT_ONCE)

    assert raised(responses) == []
    statuses = Counter(response.status_code for response in responses)
    assert statuses.keys() <= {202, 409}
    accepted = [response for response in responses if response.status_code == 202]
    assert len({response.content for response in accepted}) == 1
    assert [("Idempotency-Replayed" in one.headers) for one in accepted].count(False) == 1
    assert Order.objects.count() == SagaInstance.objects.count() == 1


def test_a_form_sent_twenty_times_at_once_places_one_order():
    browser, customer = a_shopper()
    a_method(customer)
    a_sku("MUG", stock=100)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    form = form_to(browser.get("/checkout/"), "/checkout/")

    responses = together(*[lambda: send(browser, form)] * AT_ONCE)

    assert raised(responses) == []
    assert {response.status_code for response in responses} <= {303, 409}
    order = Order.objects.get()
    addresses = {one.headers["Location"] for one in responses if one.status_code == 303}
    assert addresses == {f"/orders/{order.id}/"}


def test_two_pages_of_the_same_cart_place_one_order():
    browser, customer = a_shopper()
    a_method(customer)
    a_sku("MUG", stock=100)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    tabs = [form_to(browser.get("/checkout/"), "/checkout/") for _ in range(2)]

    responses = together(*[lambda form=form: send(browser, form) for form in tabs])

    assert sorted(response.status_code for response in responses) == [303, 422]
    assert Order.objects.count() == 1
