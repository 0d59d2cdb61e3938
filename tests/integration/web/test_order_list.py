"""The order list of pages and programs: what somebody has just done is in it, and says so."""

import pytest

from orders import awaiting
from orders.models import Projection
from orders.queries import board_of
from sagas.projections.lag import note
from tests.factories import a_sku, an_order
from tests.integration.orders.board import close, place, spread
from tests.integration.web.shopper import a_program, a_shopper, form_to, send

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def program():
    a_sku("MUG")
    return a_program()


def listed(program, awaited=""):
    return program.get(f"/orders?awaited={awaited}").json()


def test_a_program_sees_the_order_it_has_just_placed_marked_as_updating(program):
    order = program.order(("MUG", 1)).json()

    [one] = listed(program)["data"]
    assert (one["id"], one["status"], one["updating"]) == (order["id"], "pending", True)
    assert (one["payment"], one["invoice"]) == (None, None)
    assert one["progress"] == order["progress"]

    spread()
    [one] = listed(program)["data"]
    assert one["updating"] is False


def test_a_program_that_has_canceled_sees_it_in_the_list_at_once(program):
    order = program.order(("MUG", 1)).json()
    spread()

    answer = program.post(f"/orders/{order['id']}/cancel")
    awaited = answer.headers["Awaited"]
    assert awaited == f"{order['id']}:2"
    [one] = listed(program, awaited)["data"]
    assert one["updating"] is True
    assert one["progress"].startswith("We are stopping this order.")


def test_a_copy_of_the_cancel_is_told_to_wait_for_the_same(program):
    order = program.order(("MUG", 1)).json()
    first = program.post(f"/orders/{order['id']}/cancel", key="once")

    again = program.post(f"/orders/{order['id']}/cancel", key="once")
    assert again.headers["Awaited"] == first.headers["Awaited"]


@pytest.mark.parametrize("awaited", ["nonsense", "1:2", ":", "x:1", "%20"])
def test_what_says_nothing_is_awaited_by_nobody(program, awaited):
    program.order(("MUG", 1))
    spread()

    [one] = listed(program, awaited)["data"]
    assert one["updating"] is False


def test_an_order_that_has_ended_tells_nothing_that_could_be_awaited():
    order = place()
    assert awaiting.next_of(order.id) == f"{order.id}:2"

    close(order, "canceled")
    assert awaiting.next_of(order.id) == ""


def test_the_list_says_as_of_when_it_is(program):
    program.order(("MUG", 1))
    spread()
    note()

    noted = Projection.objects.get(name="orders.board").as_of
    assert listed(program)["as_of"].startswith(f"{noted:%Y-%m-%dT%H:%M:%S}")


def test_a_customer_who_has_canceled_reads_it_in_the_list_until_the_board_knows():
    browser, customer = a_shopper()
    a_sku("MUG")
    order = an_order(("MUG", 1), customer=customer)
    spread()
    assert "Updating" not in browser.get("/orders/").content.decode()

    cancel = f"/orders/{order.id}/cancel/"
    answer = send(browser, form_to(browser.get(cancel), cancel))
    assert answer.status_code == 303
    page = browser.get("/orders/").content.decode()
    assert "Updating" in page
    assert "We are stopping this order." in page
    assert "The others are as of" in page

    close(order, "canceled")
    spread()
    page = browser.get("/orders/").content.decode()
    assert ("Updating" in page, "Canceled" in page) == (False, True)


def test_with_the_projector_stopped_a_customer_still_reads_their_order():
    browser, customer = a_shopper()
    a_sku("MUG")
    order = an_order(("MUG", 1), customer=customer)

    page = browser.get("/orders/").content.decode()
    assert f"Order {order.number}" in page
    assert "Updating" in page


def test_the_next_page_of_the_board_goes_on_behind_the_last_order():
    customer = place().customer
    placed = [place(customer) for _ in range(3)]
    spread()

    first = board_of(customer.id, limit=2).entries
    second = board_of(customer.id, limit=2, after=first[-1].id).entries
    assert [one.id for one in first] == [placed[2].id, placed[1].id]
    assert second[0].id == placed[0].id
