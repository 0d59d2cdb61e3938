import pytest

from orders.models import CartLine
from orders.services import carts, put_in_cart
from sagas.api import connection_of, transaction
from tests.factories import a_customer, a_sku
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("committed_db")


def add(customer, sku="MUG"):
    with transaction("orders"):
        carts.add_to_cart(customer_id=customer.id, sku=sku, quantity=1)


def in_cart(customer):
    lines = CartLine.objects.filter(cart__customer=customer)
    return dict(lines.values_list("sku__code", "quantity"))


@pytest.mark.parametrize("other", ["CUP", "MUG"])
def test_whatever_is_added_at_the_same_moment_counts(other):
    a_sku("MUG")
    a_sku("CUP")
    customer = a_customer()
    if other == "CUP":
        put_in_cart(customer_id=customer.id, sku="CUP", quantity=1)

    outcomes = together(*[lambda: add(customer)] * 8)

    assert raised(outcomes) == []
    assert in_cart(customer)["MUG"] == 8


def test_what_is_added_while_an_order_is_placed_stays_in_the_cart():
    a_sku("MUG")
    a_sku("CUP")
    customer = a_customer()
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=1)

    def look_then_add(execute, statement, parameters, many, context):
        if statement.startswith("DELETE"):
            assert raised(together(lambda: add(customer, "CUP"))) == []
        return execute(statement, parameters, many, context)

    with transaction("orders"), connection_of("orders").execute_wrapper(look_then_add):
        carts.take_cart(customer.id, {"MUG": 1})

    assert in_cart(customer) == {"CUP": 1}
