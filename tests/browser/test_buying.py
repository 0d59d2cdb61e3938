"""A customer buys: live, without JavaScript, and with a card that is declined."""

import pytest
from playwright.sync_api import expect

from tests.workers.shop import count_the_money, rows, wait_for_rest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

STAGES = (
    "Your items are reserved. We are asking your bank.",
    "Your bank has agreed. We are taking the payment.",
    "Thank you. Your order is confirmed and paid.",
)


def test_a_customer_finds_orders_and_watches_the_order_to_its_invoice(shop, open_window, provider):
    window = open_window()
    page = window.page
    find_the_way_by_keyboard(window)
    page.get_by_role("link", name="Sign in").click()
    window.look_at("Sign in")
    window.sign_in(shop.customer)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    window.take_picture("catalogue")
    fill_the_cart(window)

    page.get_by_label("The payment goes through.").first.check()
    with provider(action="slow", seconds=6):
        page.get_by_role("button", name="Place order and pay").click()
        for stage in STAGES:
            expect(page.locator("[data-sentence]")).to_have_text(stage)
            if stage is STAGES[1]:
                window.take_picture("order")
                window.look_at("Order")
                loaded = page.evaluate("performance.timeOrigin")
    # Nobody has reloaded the page, and a screen reader was told.
    assert page.evaluate("performance.timeOrigin") == loaded
    expect(page.locator("#voice")).to_have_text(STAGES[-1])
    expect(page.locator(".stage.done")).to_have_count(6)
    window.look_at("Order")

    page.get_by_role("link", name="See invoice").click()
    window.look_at("Invoice")
    expect(page.locator("main")).to_contain_text("14.95")
    for path, heading in (("/orders/", "Your orders"), ("/invoices/", "Your invoices")):
        window.go(path)
        window.look_at(heading)
    wait_for_rest()
    count_the_money()


def find_the_way_by_keyboard(window):
    window.go("/")
    window.look_at("Good things")
    window.page.keyboard.press("Tab")
    expect(window.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    window.page.keyboard.press("Enter")
    expect(window.page.locator("#main")).to_be_focused()


def fill_the_cart(window):
    page = window.page
    page.get_by_label("Search the shop").fill("lantern")
    page.keyboard.press("Enter")
    window.look_at("Found for “lantern”")
    expect(page.locator(".tile")).to_have_count(1)
    page.locator(".tile-link").click()
    window.look_at("Tin Lantern")
    page.get_by_role("button", name="Add to cart").click()
    expect(page.locator(".count")).to_contain_text("1")
    window.go("/cart/")
    window.look_at("cart")
    expect(page.locator("main")).to_contain_text("14.95")
    page.get_by_role("link", name="Check out").click()
    window.look_at("Checkout")


def test_a_customer_buys_without_javascript(shop, open_window):
    window = open_window(java_script_enabled=False)
    page = window.page
    window.go("/sign-in/?next=/")
    window.sign_in(shop.customer)
    page.get_by_label("Search the shop").fill("bell")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("button", name="Add to cart").first.click()
    window.go("/checkout/")
    page.get_by_label("The payment goes through.").first.check()
    page.get_by_role("button", name="Place order and pay").click()

    expect(page.locator("[data-sentence]")).to_have_text(STAGES[-1])
    page.get_by_role("link", name="See invoice").click()
    expect(page.locator("main")).to_contain_text("18.85")
    wait_for_rest()
    count_the_money()


def test_a_declined_card_is_told_in_the_customers_words(shop, open_window):
    window = open_window()
    page = window.page
    window.go("/sign-in/?next=/")
    window.sign_in(shop.customer)
    page.get_by_role("button", name="Add to cart").first.click()
    window.go("/checkout/")
    page.get_by_label("The bank declines. Nothing is charged.").check()
    page.get_by_role("button", name="Place order and pay").click()

    expect(page.locator("[data-sentence]")).to_have_text(
        "Your bank declined the payment. You were not charged."
    )
    expect(page.locator(".stage.stopped")).to_contain_text("Bank said no")
    expect(page.get_by_role("link", name="To the shop")).to_be_visible()
    assert page.get_by_text("See invoice").count() == 0
    for word in ("saga", "compensat", "generic_decline", "rejected", "step "):
        assert word not in page.locator("body").inner_text().lower()
    window.look_at("Order")
    wait_for_rest()
    assert rows("SELECT status FROM orders_order") == [("failed",)]
    count_the_money()
