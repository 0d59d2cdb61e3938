"""What was true at an instant, on a page."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from tests.factories import a_sku, an_order
from tests.integration.admin.world import a_compensated_saga, an_account, row, saga_page, signed_in


def page(client, stream, at=""):
    return client.get(reverse("admin:stream"), {"stream": stream, "at": at})


def state(response):
    return response.context["shown"].state


@pytest.fixture
def order(committed_db):
    a_sku("MUG")
    return an_order(("MUG", 2))


def test_an_order_links_to_its_past_which_shows_what_was_told(order):
    viewer = signed_in("viewer")
    stream = f"orders.order:{order.id}"
    shown = viewer.get(reverse("admin:orders_order_change", args=[order.id]))
    assert reverse("admin:stream") in shown.content.decode()

    found = page(viewer, stream)
    assert state(found)["status"] == "pending"
    assert "orders.OrderPlaced" in found.content.decode()


def test_before_it_was_placed_an_order_was_not_there(order):
    before = (order.placed_at - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S")

    found = page(signed_in("viewer"), f"orders.order:{order.id}", before)
    assert "At that instant it was not there." in found.content.decode()


def test_a_saga_links_to_its_past_which_shows_the_steps_it_had_done(broker):
    viewer = signed_in("viewer")
    saga = row(a_compensated_saga(broker))
    assert "as of an instant" in viewer.get(saga_page(saga.id)).content.decode()

    stream = f"sagas.saga:{saga.id}"
    moment = (saga.finished_at - timedelta(microseconds=1)).isoformat()
    assert state(page(viewer, stream))["status"] == "compensated"
    assert state(page(viewer, stream, moment))["status"] == "compensating"
    assert "Steps committed by then" in page(viewer, stream).content.decode()


NOBODY = "01a20000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("stream", "at", "said"),
    [
        ("", "", "This names no stream"),
        ("orders.order", "", "This names no stream"),
        (f"shipping.parcel:{NOBODY}", "", "This names no stream"),
        (f"orders.order:{NOBODY}", "", "Nothing was ever told of this stream"),
        (f"sagas.saga:{NOBODY}", "", "There is no saga with this id"),
        (f"orders.order:{NOBODY}", "tuesday", "This is no instant"),
        (f"orders.order:{NOBODY}", "2026-99-01T00:00", "This is no instant"),
        ("<script>:" + "x" * 400, "", "This names no stream"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(committed_db, stream, at, said):
    response = page(signed_in("viewer"), stream, at)

    assert response.status_code == 200
    assert said in response.content.decode()
    assert "<script>:" not in response.content.decode()


def test_nobody_sees_the_past_of_what_they_may_not_see_now(order):
    account = an_account("nobody")
    client = signed_in("viewer")
    client.force_login(account)
    stream = f"orders.order:{order.id}"
    assert page(client, stream).status_code == 403

    account.user_permissions.add(Permission.objects.get(codename="view_order"))
    assert page(client, stream).status_code == 200
    assert page(client, f"sagas.saga:{order.saga_id}").status_code == 403
    client.force_login(an_account("customer"))
    assert page(client, stream).status_code == 302
