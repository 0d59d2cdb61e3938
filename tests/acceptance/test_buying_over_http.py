"""Programs and customers at the running site; a worker carries out what they order."""

import http.client
import json
import re
from urllib.parse import urlsplit

import pytest

from orders.models import Order
from sagas.ids import uuid7
from tests.factories import a_method, a_sku
from tests.integration.web.shopper import a_program, a_shopper, form_to, send
from tests.processes import WEB_URL, eventually
from tests.workers.shop import count_the_money, wait_for_rest

NOWHERE = None


@pytest.fixture
def world(processes):
    processes.provider()
    processes.worker()
    processes.beat()
    a_sku("MUG", stock=100)
    return processes


def ask(program, method, path, body=None, headers=()):
    """Speak HTTP to the web process; the answer, or None when the line went dead."""
    line = http.client.HTTPConnection(urlsplit(WEB_URL).netloc, timeout=20)
    sent = json.dumps(body).encode() if body is not None else b""
    try:
        line.putrequest(method, path)
        for name, value in (
            ("Authorization", f"Bearer {program.token}"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(sent))),
            *headers,
        ):
            line.putheader(name, value)
        line.endheaders(sent)
        answer = line.getresponse()
        return answer.status, dict(answer.getheaders()), json.loads(answer.read())
    except (http.client.HTTPException, OSError):
        return NOWHERE
    finally:
        line.close()


def place(program, key, *more):
    body = {
        "lines": [{"sku": "MUG", "quantity": 2}],
        "payment_method": str(program.method),
    }
    return ask(program, "POST", "/api/v1/orders", body, [("Idempotency-Key", key), *more])


def ended(program, path):
    def look():
        order = ask(program, "GET", path)[2]
        return order if order["status"] != "pending" else None

    return eventually(look, 30, "the order ends")


@pytest.mark.parametrize(
    ("card", "status", "reason"),
    [("card_good", "confirmed", None), ("card_declined", "failed", "generic_decline")],
)
def test_a_program_orders_and_follows_its_order_to_the_end(world, card, status, reason):
    world.web()
    program = a_program(card)

    code, headers, placed = place(program, str(uuid7()))
    order = ended(program, headers["Location"])

    assert code == 202
    assert (order["id"], order["status"], order["reason"]) == (placed["id"], status, reason)
    wait_for_rest()
    count_the_money()
    invoices = ask(program, "GET", "/api/v1/invoices")[2]["data"]
    assert [one["order_id"] for one in invoices] == ([order["id"]] if reason is None else [])
    late, _, problem = ask(
        program, "POST", f"{headers['Location']}/cancel", headers=[("Idempotency-Key", "late")]
    )
    assert late == 409
    assert problem["code"] == ("too_late" if reason is None else "already_closed")


@pytest.mark.parametrize(
    "place_of_death", ["request.before_commit", "start.committed", "request.committed"]
)
def test_a_request_whose_process_is_killed_orders_once_when_it_comes_again(
    world, place_of_death, tmp_path
):
    control = tmp_path / "failpoints"
    control.write_text(f"{place_of_death}=kill")
    world.web(env={"CONCORD_FAILPOINTS_FILE": str(control)})
    program = a_program()
    key = str(uuid7())

    died = place(program, key)
    control.write_text("")
    status, headers, order = eventually(lambda: place(program, key), 30, "the site is back")

    assert died is NOWHERE
    assert status == 202
    assert ("Idempotency-Replayed" in headers) is (place_of_death != "request.before_commit")
    assert ended(program, headers["Location"])["status"] == "confirmed"
    assert str(Order.objects.get().id) == order["id"]
    wait_for_rest()
    count_the_money()


def test_two_headers_with_a_key_are_refused(world):
    world.web()

    status, _, problem = place(a_program(), "one", ("Idempotency-Key", "two"))

    assert (status, problem["code"]) == (400, "idempotency_key_repeated")
    assert Order.objects.count() == 0


def test_a_customer_buys_without_javascript_and_gets_an_invoice(world):
    browser, customer = a_shopper()
    a_method(customer)

    send(browser, form_to(browser.get("/"), "/cart/add/"))
    placed = send(browser, form_to(browser.get("/checkout/"), "/checkout/"))

    def look():
        page = browser.get(placed.headers["Location"]).content.decode()
        return page if 'data-final="yes"' in page else None

    page = eventually(look, 30, "the order page comes to rest")
    assert "Thank you. Your order is confirmed and paid." in page
    assert page.count('class="stage done"') == 6
    invoice = re.search(r'href="(/invoices/[^"]+)"', page.partition("<main")[2])[1]
    shown = browser.get(invoice).content.decode()
    assert "Total, tax included" in shown
    wait_for_rest()
    assert "Paid" in browser.get("/invoices/").content.decode()
    count_the_money()


def test_a_customer_takes_an_order_back_before_it_is_paid(processes):
    processes.provider()
    a_sku("MUG", stock=100)
    browser, customer = a_shopper()
    a_method(customer)
    send(browser, form_to(browser.get("/"), "/cart/add/"))
    placed = send(browser, form_to(browser.get("/checkout/"), "/checkout/"))
    address = placed.headers["Location"]

    send(browser, form_to(browser.get(f"{address}cancel/"), f"{address}cancel/"))
    stopping = browser.get(address).content.decode()
    processes.worker()
    processes.beat()
    wait_for_rest()

    assert "We are stopping this order." in stopping
    assert "You canceled this order. You were not charged." in browser.get(address).content.decode()
    count_the_money()
