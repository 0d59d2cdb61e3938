"""What operators see of a flow of events, and what they can press."""

import pytest
from django.urls import reverse

from sagas.choreography import operating, told, watchdog
from tests.integration.admin.test_pages import INLINE
from tests.integration.admin.world import signed_in
from tests.integration.sagas.flows import (
    a_flow,
    carry,
    coupons,
    flow,
    make_due,
    messages,
    publish_all,
)
from tests.integration.sagas.test_choreography import no_undo

__all__ = ["no_undo"]

LIST = "admin:sagas_watchedflow_changelist"


def shown(role="viewer"):
    page = signed_in(role).get(reverse("admin:sagas_watchedflow_change", args=[flow().id]))
    text = page.content.decode()
    assert INLINE.search(text) is None
    return text


def late(broker):
    order = a_flow(broker)
    publish_all()
    broker.take()
    make_due(overdue=True)
    watchdog.watch()
    return order


def test_a_flow_is_shown_with_its_missing_hop_and_what_comes_next(broker):
    late(broker)

    text = shown()

    assert "hop 1 of 2: billing has not handled orders.OrderConfirmed; it could since" in text
    assert "it is delivered again, 2 more times; then what was done is taken back" in text


def test_a_flow_that_is_parked_since_its_undo_fails_shows_why(broker, monkeypatch, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    late(broker)
    operating.compensate(flow().id, by="alice", reason="a mistake")
    # In a version that no upcaster leads to.
    monkeypatch.setattr(told, "emitted", lambda: {("orders.OrderConfirmed", 2): None})
    make_due()
    watchdog.watch()

    assert flow().parked_at is not None
    assert "billing could not take its hop back, attempt 1: NoUpcaster" in shown()


def test_a_flow_that_is_through_shows_its_hops_without_asking_the_watchdog(broker):
    a_flow(broker)
    carry(broker)

    text = shown()

    assert "orders hears billing.CouponGranted" in text
    assert "Every hop is through: the next look says so." in text


def test_a_parked_flow_waits_on_the_first_page_and_is_resumed_with_a_reason(broker, no_undo):
    order = late(broker)
    make_due(overdue=True)
    watchdog.watch()
    client = signed_in("operator")
    front = client.get(reverse("admin:index")).content.decode()
    assert "<strong>1</strong> flow of events" in front
    assert flow().name in client.get(reverse(LIST), {"stands": "human"}).content.decode()

    act = reverse("admin:sagas_watchedflow_act", args=["resume"])
    asked = client.get(act, {"id": flow().id})
    [target] = asked.context["targets"]
    client.post(act, {"target": f"{target.key}|{target.mark}", "reason": "the broker is back"})
    watchdog.watch()
    carry(broker)

    assert (coupons(), messages(order)) == (["granted"], ["coupon_granted"])


def asked(client, verb):
    act = reverse("admin:sagas_watchedflow_act", args=[verb])
    [target] = client.get(act, {"id": flow().id}).context["targets"]
    told = {"target": f"{target.key}|{target.mark}", "reason": "seen to"}

    def press():
        [outcome] = client.post(act, told).context["outcomes"]
        return outcome.refusal

    return press


def test_a_look_of_the_watchdog_is_no_reason_to_refuse_what_somebody_has_decided(broker):
    a_flow(broker)
    press = asked(signed_in("administrator"), "compensate")
    make_due()
    assert watchdog.watch() == 1

    assert press() is None
    assert flow().state == "compensating"


def park_again():
    make_due(overdue=True)
    while flow().parked_at is None:
        assert watchdog.watch() == 1
        make_due(overdue=True)


@pytest.mark.parametrize("verb", ["resume", "close"])
def test_what_has_been_resumed_and_parked_again_is_left_alone(broker, no_undo, verb):
    late(broker)
    park_again()
    press = asked(signed_in("administrator"), verb)
    assert operating.resume(flow().id, by="alice", reason="the broker is back")
    park_again()

    assert press() == "it has moved on since you looked; look again, then decide"
    assert flow().parked_at is not None


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("administrator", 200)])
def test_a_flow_is_given_up_by_administrators_only(broker, role, status):
    a_flow(broker)

    page = signed_in(role).get(
        reverse("admin:sagas_watchedflow_act", args=["compensate"]), {"id": flow().id}
    )

    assert page.status_code == status
