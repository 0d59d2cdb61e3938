"""The shop in a real browser: the live order page, double clicks, the policy, and who reads it."""

import shutil
from contextlib import contextmanager
from decimal import Decimal

import pytest
from playwright.sync_api import expect, sync_playwright

from orders.models import Order
from orders.services import NewSku, add_products, put_in_cart, register_customer
from tests.factories import a_method
from tests.integration.web.shopper import PASSWORD, a_user
from tests.processes import WEB_URL

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

NAMES = ("ROSE GARDEN TEA MUG", "Party bunting", "Alarm clock", "Pantry jar")
WIDTHS = (1280, 360)

# Texts with less than 4.5:1 on their background, whether anything sticks out at the side, and
# fields without a label.
WRONG = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const part = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) =>
    0.2126 * part(r / 255) + 0.7152 * part(g / 255) + 0.0722 * part(b / 255);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = numbers(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const element of document.querySelectorAll("body *")) {
    const box = element.getBoundingClientRect();
    const speaks = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!speaks || box.width < 2 || box.left < 0) continue;
    const two = [numbers(getComputedStyle(element).color), ground(element)].map(light);
    if ((Math.max(...two) + 0.05) / (Math.min(...two) + 0.05) < 4.5) {
      pale.push(element.textContent.trim().slice(0, 40));
    }
  }
  const fields = [...document.querySelectorAll("input:not([type=hidden])")];
  return {
    pale,
    sticksOut: document.documentElement.scrollWidth > innerWidth,
    nameless: fields.filter((field) => !field.labels.length).length,
    headings: document.querySelectorAll("h1").length,
  };
}"""
FINE = {"pale": [], "sticksOut": False, "nameless": 0, "headings": 1}


class Visit:
    """One browser window, and what it complained about."""

    def __init__(self, page):
        self.page = page
        self.complaints = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("requestfailed", self._note_failure)

    def _note_failure(self, request):
        # A page that is left while it loads breaks its own requests off.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def go(self, path):
        self.page.goto(f"{WEB_URL}{path}")

    def look(self):
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 800})
            assert self.page.evaluate(WRONG) == FINE, (self.page.url, width)

    def sign_in(self):
        self.go("/sign-in/")
        self.look()
        self.page.fill("#id_username", "alice")
        self.page.fill("#id_password", PASSWORD)
        self.page.click("main button")


@contextmanager
def a_window(**options):
    """Open a window. While it is open, nothing may be asked of the database: it has a loop."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield Visit(browser.new_page(**options))
        browser.close()


@pytest.fixture
def customer(processes):
    add_products(
        [
            NewSku(code=f"S{number}", name=name, unit_price=Decimal(450), stock=number)
            for number, name in enumerate(NAMES)
        ]
    )
    found = register_customer(email="alice@example.com", name="Alice", user_id=a_user("alice").id)
    a_method(found)
    processes.provider()
    processes.web()
    return found


def test_a_customer_buys_with_a_double_click_and_watches_the_order(processes, customer):
    with a_window() as visit:
        page = visit.page
        visit.sign_in()
        visit.look()
        page.click("text=Add to cart >> nth=0")
        visit.look()
        visit.go("/products/S2/")
        visit.look()
        visit.go("/checkout/")
        visit.look()

        page.dblclick("text=Place order and pay")
        page.wait_for_selector("#progress")
        visit.look()
        address = page.url
        processes.worker()
        processes.beat()

        # Without a reload: the page keeps itself up to date, and says the sentence once.
        page.wait_for_selector("[data-final=yes]", timeout=30_000)
        said = "Thank you. Your order is confirmed and paid."
        expect(page.locator("#voice")).to_have_text(said, timeout=30_000)
        assert page.url == address
        visit.look()
        page.click("#to-invoice")
        visit.look()
        for path in ("/orders/", "/invoices/", "/cart/", "/docs/http-api"):
            visit.go(path)
            visit.look()

    assert visit.complaints == []
    assert Order.objects.count() == 1


def test_a_customer_buys_and_watches_the_order_without_javascript(processes, customer):
    put_in_cart(customer_id=customer.id, sku="S3", quantity=1)
    with a_window(java_script_enabled=False) as visit:
        page = visit.page
        visit.sign_in()
        visit.go("/checkout/")
        page.click("text=Place order and pay")
        page.wait_for_selector(".stage.current")
        processes.worker()
        processes.beat()

        page.wait_for_selector("text=Thank you.", timeout=30_000)
        assert page.locator(".stage.done").count() == 6

    assert visit.complaints == []
    assert Order.objects.get().status == "confirmed"
