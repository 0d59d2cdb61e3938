import pytest

from orders.models import Order
from sagas.models import SagaInstance
from tests.factories import an_invoice_command, carry_out

pytestmark = pytest.mark.usefixtures("committed_db")


def move(order, *, saga=None, **facts):
    SagaInstance.objects.filter(id=order.saga_id).update(**(saga or {}))
    Order.objects.filter(id=order.id).update(**facts)


def test_a_page_that_is_not_final_looks_again_with_and_without_javascript(full):
    browser, _, order, _ = full

    page = browser.get(f"/orders/{order.id}/").content.decode()

    assert '<noscript><meta http-equiv="refresh"' in page
    assert "orders/progress.js" in page
    assert 'data-final="no"' in page
    assert page.count('aria-current="step"') == 1


def test_a_final_page_rests(full):
    browser, _, order, _ = full
    move(order, status="failed", reason="out_of_stock", closed_at=order.placed_at)

    page = browser.get(f"/orders/{order.id}/").content.decode()

    assert "http-equiv" not in page
    assert "progress.js" not in page
    assert 'data-final="yes"' in page
    assert "You were not charged." in page
    assert "cancel/" not in page


def test_the_part_that_changes_is_the_same_in_the_page_and_alone(full):
    browser, _, order, _ = full

    page = browser.get(f"/orders/{order.id}/").content.decode()
    part = browser.get(f"/orders/{order.id}/progress/").content.decode()

    assert part in page
    assert "<html" not in part


def test_a_confirmed_order_leads_to_its_invoice(full):
    browser, customer, order, _ = full
    invoice = carry_out(
        an_invoice_command(500, customer_id=customer.id, order_id=order.id)
    ).invoice_id
    move(order, status="confirmed", confirmed_at=order.placed_at)

    page = browser.get(f"/orders/{order.id}/").content.decode()

    assert f"/invoices/{invoice}/" in page
    assert "Thank you." in page
