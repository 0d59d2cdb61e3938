import pytest

from billing.handlers import RegisteredSeen, open_account
from orders.services import put_in_cart
from sagas.api import transaction
from tests.factories import a_method, a_sku, an_invoice_command, an_order, carry_out
from tests.integration.web.shopper import a_shopper


def an_invoice(customer):
    with transaction("billing"):
        open_account(
            RegisteredSeen(customer_id=customer.id, customer_name=customer.name, currency="GBP")
        )
    return carry_out(an_invoice_command(500, customer_id=customer.id)).invoice_id


@pytest.fixture
def full():
    """A shop with goods, and a customer with a cart, an order and an invoice."""
    browser, customer = a_shopper()
    a_sku("MUG", stock=3, price="42500.0000")
    a_sku("CUP", stock=0)
    a_sku("OLD")
    a_method(customer)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=2)
    order = an_order(("MUG", 1), customer=customer)
    pages = {
        "/": "Only 3 left",
        "/products/MUG/": "£425.00",
        "/products/CUP/": "Sold out",
        "/cart/": "£850.00",
        "/checkout/": "Place order and pay £850.00",
        "/orders/": f"Order {order.number}",
        f"/orders/{order.id}/": "We are reserving your items.",
        f"/orders/{order.id}/progress/": "Setting your items aside",
        f"/orders/{order.id}/cancel/": "Cancel this order?",
        "/invoices/": "INV",
        f"/invoices/{an_invoice(customer)}/": "Total, tax included",
    }
    return browser, customer, order, pages
