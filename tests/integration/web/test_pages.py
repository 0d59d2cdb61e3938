"""Every page, with something on it and with nothing, for its customer and for others."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from orders.models import Customer, Order
from orders.services import put_in_cart, set_active
from sagas.ids import uuid7
from tests.factories import a_method, a_sku, an_order
from tests.integration.web.shopper import PASSWORD, a_shopper, a_user, form_to, forms_of, send

pytestmark = pytest.mark.usefixtures("committed_db")

NO_KEY = {"/sign-in/", "/sign-out/"}
INLINE = re.compile(
    r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=|javascript:", re.IGNORECASE
)
EMPTY = ("/", "/cart/", "/orders/", "/invoices/", "/?q=nothing", "/docs/http-api")


def every_page(browser, pages):
    return [(path, browser.get(path)) for path in pages]


def test_every_page_shows_what_there_is(full):
    browser, _, _, pages = full

    for path, words in pages.items():
        page = browser.get(path)
        assert page.status_code == 200, path
        assert words in page.content.decode(), path


def test_every_page_shows_that_there_is_nothing():
    browser, _ = a_shopper()

    for path, page in every_page(browser, EMPTY):
        assert page.status_code == 200, path
        assert "<h1>" in page.content.decode(), path


def test_whoever_has_not_signed_in_sees_the_shop_and_nothing_else(full):
    _, _, _, pages = full

    for path in pages:
        page = Client().get(path)
        if path == "/" or path.startswith("/products/"):
            assert page.status_code == 200
            assert not [form for form in forms_of(page) if form.method == "post"]
        else:
            assert (page.status_code, page.headers["Location"]) == (302, f"/sign-in/?next={path}")


def test_nothing_of_somebody_else_is_there(full):
    _, _, _, pages = full
    stranger, _ = a_shopper("bob")
    own = ("/", "/products/MUG/", "/products/CUP/", "/cart/", "/orders/", "/invoices/")

    for path in pages:
        page = stranger.get(path)
        if path == "/checkout/":
            assert page.headers["Location"] == "/cart/"
        elif path in own:
            assert "INV" not in page.content.decode()
            assert "/orders/0" not in page.content.decode()
        else:
            assert page.status_code == 404, path


def test_a_page_that_is_missing_looks_like_one_of_somebody_else(full):
    browser, _, _, _ = full
    nowhere = uuid7()
    ways = (
        f"/orders/{nowhere}/",
        f"/orders/{nowhere}/cancel/",
        f"/orders/{nowhere}/progress/",
        f"/invoices/{nowhere}/",
        "/products/NONE/",
        "/nowhere/",
        "/orders/?after=x",
        f"/orders/?after={nowhere}",
        "/invoices/?after=x",
        f"/invoices/?after={nowhere}",
        "/?after=nowhere",
        "/?q=%00",
    )

    for path in ways:
        page = browser.get(path)
        assert page.status_code == 404, path
        assert "There is nothing here" in page.content.decode()


def test_what_is_missing_looks_the_same_while_the_site_is_being_developed(full, settings):
    browser, _, _, _ = full
    settings.DEBUG = True

    for path in (f"/orders/{uuid7()}/", "/products/NONE/"):
        page = browser.get(path)
        assert page.status_code == 404
        assert "There is nothing here" in page.content.decode()


def test_an_operator_who_is_no_customer_is_told_so():
    browser = Client()
    browser.force_login(a_user("operator"))

    page = browser.get("/orders/")

    assert page.status_code == 403
    assert "This sign-in does not shop" in page.content.decode()
    assert browser.get("/").status_code == 200


def test_every_form_that_does_something_can_be_sent_twice(full):
    browser, _, _, pages = full
    seen = set()

    for path, page in every_page(browser, [*pages, "/sign-in/"]):
        for form in forms_of(page):
            if form.method == "post":
                assert "csrfmiddlewaretoken" in form.fields, path
                assert ("idempotency_key" in form.fields) is (form.action not in NO_KEY), path
                seen.add(form.action)

    assert {"/cart/add/", "/cart/change/", "/checkout/", "/sign-in/", "/sign-out/"} < seen
    assert any(action.endswith("/cancel/") for action in seen)


def test_no_two_forms_share_a_key(full):
    browser, _, _, pages = full

    keys = [
        form.fields["idempotency_key"]
        for _, page in every_page(browser, pages)
        for form in forms_of(page)
        if "idempotency_key" in form.fields
    ]

    assert len(keys) == len(set(keys)) > 5


def test_no_page_has_anything_that_the_policy_forbids(full):
    browser, _, _, pages = full
    policy = "default-src 'self'"

    for path, page in every_page(browser, [*pages, *EMPTY, "/sign-in/", "/nowhere/"]):
        assert INLINE.search(page.content.decode()) is None, path
        assert policy in page.headers["Content-Security-Policy"]


def test_pages_with_forms_are_not_kept_by_the_browser(full):
    browser, _, _, pages = full

    for path, page in every_page(browser, pages):
        assert "no-store" in page.headers["Cache-Control"], path


def test_a_form_from_elsewhere_is_refused(full):
    browser, _, _, _ = full
    form = form_to(browser.get("/checkout/"), "/checkout/")

    refused = send(browser, form, csrfmiddlewaretoken="x" * 64)

    assert refused.status_code == 403
    assert "Please send that again" in refused.content.decode()
    assert Order.objects.count() == 1


def test_reading_changes_nothing(full):
    browser, _, _, pages = full
    before = Order.objects.count(), Customer.objects.get().cart.lines.get().quantity

    every_page(browser, pages)
    for path in ("/cart/add/", "/cart/change/"):
        assert browser.get(path).status_code == 405

    assert (Order.objects.count(), Customer.objects.get().cart.lines.get().quantity) == before


def test_signing_in_leads_to_where_one_was_going_and_out_to_the_shop():
    a_user("carol")
    browser = Client(enforce_csrf_checks=True)
    form = form_to(browser.get("/sign-in/?next=/orders/"), "/sign-in/")

    wrong = send(browser, form, username="carol", password="wrong")
    right = send(browser, form, username="carol", password=PASSWORD)

    assert "That did not work" in wrong.content.decode()
    assert (right.status_code, right.headers["Location"]) == (302, "/orders/")
    out = send(browser, form_to(browser.get("/"), "/sign-out/"))
    assert out.headers["Location"] == "/"
    assert browser.get("/orders/").status_code == 302


def test_the_catalogue_is_searched_and_read_page_by_page():
    for number in range(30):
        a_sku(f"ITEM-{number:02}")
    a_sku("OTHER")

    first = Client().get("/?q=item").content.decode()
    after = re.search(r'href="\?q=item&amp;after=([^"]+)"', first)[1]
    second = Client().get(f"/?q=item&after={after}").content.decode()

    assert (first.count('class="card tile"'), second.count('class="card tile"')) == (24, 6)
    assert "The OTHER" not in first + second
    assert 'rel="next"' not in second


def test_lists_of_orders_go_on():
    browser, customer = a_shopper()
    a_sku("MUG", stock=100)
    for _ in range(21):
        an_order(("MUG", 1), customer=customer)

    first = browser.get("/orders/").content.decode()
    second = browser.get(re.search(r'href="(\?after=[^"]+)"', first)[1], follow=True)
    second = browser.get("/orders/" + re.search(r'href="(\?after=[^"]+)"', first)[1])

    assert first.count('class="row"') == 20
    assert second.content.decode().count('class="row"') == 1


def test_the_customers_own_words_are_no_markup():
    browser, customer = a_shopper()
    Customer.objects.update(name="<script>alert(1)</script>")
    a_sku("MUG")
    a_method(customer)
    put_in_cart(customer_id=customer.id, sku="MUG", quantity=1)

    for path in ("/checkout/", "/?q=<script>alert(1)</script>"):
        page = browser.get(path).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page


def test_the_names_of_the_addresses_are_as_agreed():
    one = uuid7()

    assert [
        reverse("shop:catalogue"),
        reverse("shop:product", args=["MUG"]),
        reverse("shop:cart"),
        reverse("shop:checkout"),
        reverse("shop:orders"),
        reverse("shop:order", args=[one]),
        reverse("shop:order_cancel", args=[one]),
        reverse("shop:order_progress", args=[one]),
        reverse("billing:invoices"),
        reverse("billing:invoice", args=[one]),
    ] == [
        "/",
        "/products/MUG/",
        "/cart/",
        "/checkout/",
        "/orders/",
        f"/orders/{one}/",
        f"/orders/{one}/cancel/",
        f"/orders/{one}/progress/",
        "/invoices/",
        f"/invoices/{one}/",
    ]


def test_an_item_that_is_no_longer_for_sale_is_pointed_out(full):
    browser, _, _, _ = full
    set_active(sku="MUG", active=False)

    cart = browser.get("/cart/").content.decode()

    assert "No longer for sale" in cart
    assert "Check out" not in cart
