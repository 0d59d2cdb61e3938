"""An operator finds the saga of an order, reads what happened, and lets it go on."""

import pytest
from playwright.sync_api import expect

from tests.workers.shop import count_the_money, one, rows, wait_for_rest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WHY = "The bank answers again."


def test_an_operator_finds_the_saga_of_an_order_and_resumes_it(shop, open_window, provider):
    customer = open_window()
    with provider(action="busy", operation="capture"):
        number = order_that_parks(customer, shop.customer)

        operator = open_window()
        sign_in_to_the_admin(operator, shop.operators.operator)
        page = operator.page
        expect(page.get_by_role("heading", name="Needs a human")).to_be_visible()
        page.get_by_label("Any id").fill(number)
        page.keyboard.press("Enter")
        page.locator(f"a[href*='sagainstance/{saga_id()}']").first.click()

        expect(page.locator(".sentence")).to_contain_text("capture_payment")
        faults = page.get_by_role("region", name="Attempts that went wrong")
        expect(faults.locator("tbody tr")).to_have_count(3)
    page.get_by_role("link", name="Resume…").click()
    expect(page.locator("main, #content-main").first).to_contain_text("goes on forward")
    page.get_by_role("button", name="Resume 1").click()
    assert page.get_by_label("Reason").evaluate("field => !field.checkValidity()")
    page.get_by_label("Reason").fill(WHY)
    page.get_by_role("button", name="Resume 1").click()
    expect(page.locator(".sentence")).to_have_text("Resume: 1 of 1 done.")

    # The customer's page, which was open all the while, comes to its end.
    expect(customer.page.locator("[data-sentence]")).to_have_text(
        "Thank you. Your order is confirmed and paid."
    )
    page.get_by_role("link", name="orders.checkout").click()
    expect(page.get_by_role("region", name="What operators did")).to_contain_text(WHY)
    expect(page.get_by_role("heading", level=1)).to_contain_text("completed")
    operator.take_picture("saga")
    wait_for_rest()
    assert rows("SELECT action, by, reason, outcome FROM sagas_operatoraction") == [
        ("resume", shop.operators.operator.username, WHY, "done")
    ]
    count_the_money()


def test_a_viewer_sees_why_nothing_can_be_pressed(shop, open_window, provider):
    customer = open_window()
    with provider(action="busy", operation="capture"):
        order_that_parks(customer, shop.customer)
        viewer = open_window()
        sign_in_to_the_admin(viewer, shop.operators.viewer)
        viewer.page.get_by_label("Any id").fill(saga_id())
        viewer.page.keyboard.press("Enter")

        expect(viewer.page.get_by_role("button", name="Resume…")).to_be_disabled()
        expect(viewer.page.locator(".acts")).to_contain_text("your account may not do this")


def order_that_parks(window, account):
    """Order while the provider refuses to be spoken to; the number of the order."""
    page = window.page
    window.go("/sign-in/?next=/")
    window.sign_in(account)
    page.get_by_role("button", name="Add to cart").first.click()
    window.go("/checkout/")
    page.get_by_label("The payment goes through.").first.check()
    page.get_by_role("button", name="Place order and pay").click()
    expect(page.locator("[data-sentence]")).to_contain_text("One of us is looking into your order")
    return one("SELECT number FROM orders_order")


def saga_id():
    return str(one("SELECT id FROM sagas_saga"))


def sign_in_to_the_admin(window, account):
    window.go("/admin/")
    window.page.get_by_label("Username").fill(account.username)
    window.page.get_by_label("Password").fill(account.password)
    window.page.get_by_role("button", name="Log in").click()
