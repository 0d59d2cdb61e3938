"""The page of a click: events from the timeline, how fresh it is, and what is not in it."""

import pytest
from django.urls import reverse

from orders.models import Outbox, Projection, Timeline
from orders.timeline import TIMELINE
from sagas.admin import clicks
from sagas.admin.clicks import click_of, told_under
from sagas.admin.detail import gather
from sagas.answering import Answering
from sagas.core.keys import Direction
from sagas.correlation import Correlation, correlated
from sagas.models import DeadLetter, SagaInstance
from sagas.orchestration import executor
from sagas.outbox import discarding
from sagas.projections import declaring
from sagas.projections.lag import note
from sagas.projections.rebuild import rebuild
from tests.databases import rows
from tests.factories import a_customer, a_sku, an_order
from tests.integration.admin.world import signed_in
from tests.integration.data.world import settle
from tests.integration.orders.board import close, place, spread
from tests.integration.orders.test_rebuild_past_letters import poisoned
from tests.integration.sagas.news import a_teller, tell

__all__ = ["poisoned"]
pytestmark = pytest.mark.usefixtures("committed_db")

MISSING = " (not in the timeline)"
ONE = "Of the events below 1 is not in it: it is read from its outbox."


@pytest.fixture
def order():
    """Its first step is done, and nothing is delivered."""
    a_sku("MUG", stock=5, price="250")
    placed = an_order(("MUG", 2), customer=a_customer())
    executor.run_link(placed.saga_id, 1, 1, Direction.DO)
    return placed


def correlation_ids(order):
    asked = "SELECT correlation_id FROM orders_outbox WHERE aggregateid = %s ORDER BY sequence"
    return [row[0] for row in rows(asked, [order.id])]


def outbox(order):
    """What the pages have read of the outboxes."""
    return [("orders", row) for row in Outbox.objects.filter(aggregateid=order.id)]


def page(order, number=0):
    """The page of one of an order's events."""
    return signed_in("viewer").get(reverse("admin:story", args=[correlation_ids(order)[number]]))


def events(answer):
    """What is told on the page, without what a detached context asks of the engine."""
    told = [one.text for one in answer.context["passages"] if one.kind == "event"]
    return [text for text in told if not text.startswith("orders.Saga")]


def freshness(answer):
    said = answer.context["story"].freshness
    assert said in answer.content.decode()
    return said


def up_to():
    as_of = Projection.objects.get(name="orders.timeline").as_of
    return f"Events up to {as_of:%Y-%m-%d %H:%M:%S} UTC are in orders.timeline."


def test_the_page_has_the_events_from_the_timeline_and_says_up_to_when(order):
    spread()
    note()

    shown = page(order)
    assert freshness(shown) == up_to()
    said = f"Order {order.number} was placed, for 5.00 GBP"
    assert events(shown) == [f"orders.OrderPlaced v1 by system: {said}"]


def test_while_nothing_is_delivered_the_page_shows_the_newest_and_says_that_they_are_missing(order):
    note()

    shown = page(order)
    assert Timeline.objects.count() == 0
    assert events(shown) == [f"orders.OrderPlaced v1 by system{MISSING}"]
    assert freshness(shown) == f"{up_to()} {ONE}"
    spread()
    assert MISSING not in page(order).content.decode()


def test_what_a_timeline_does_not_hear_of_is_shown_and_not_called_missing():
    teller = a_teller()
    tell(teller, "hello")
    note()

    shown = page(teller, -1)
    assert events(shown) == ["orders.TrialTold v1 by system"]
    assert freshness(shown) == up_to()


def test_what_no_tick_has_looked_at_is_not_said_to_be_fresh(order):
    spread()

    assert freshness(page(order)) == "No tick has looked yet how far orders.timeline has come."


def test_what_the_outbox_has_pruned_is_still_on_the_page_and_leads_to_the_history(order):
    spread()
    settle()
    address = reverse("admin:story", args=correlation_ids(order))
    rows("DELETE FROM orders_outbox WHERE position > 0")

    shown = signed_in("administrator").get(address)
    [event] = [one for one in shown.context["passages"] if one.kind == "event"]
    assert f"Order {order.number} was placed" in event.text
    assert event.url == f"{reverse('admin:stream')}?stream=orders.order%3A{order.id}"
    assert signed_in("administrator").get(event.url).status_code == 200
    assert order.id in shown.context["story"].subjects


def test_what_was_discarded_is_on_the_page_and_said_not_to_be_in_it(poisoned):
    order = place()
    close(order, "failed")
    spread()
    letter = DeadLetter.objects.get(context="orders")
    assert discarding.discard(letter.id, by="alice", reason="a test order")
    note()

    shown = page(order, -1)
    assert f"orders.OrderFailed v1 by system{MISSING}" in events(shown)
    assert {one.kind for one in shown.context["passages"]} >= {"dead letter", "event", "handler"}
    assert ONE in freshness(shown)


def test_a_timeline_that_has_not_all_of_the_past_says_so_until_it_is_built(order):
    Projection.objects.create(name="orders.timeline", version=0)
    spread()

    told = "orders.timeline lacks what was told before it: manage.py projections rebuild"
    assert told in freshness(page(order))
    rebuild(TIMELINE)
    assert told not in freshness(page(order))


def test_without_a_timeline_the_page_reads_the_outboxes_and_speaks_of_none(order, monkeypatch):
    monkeypatch.setattr(declaring, "PROJECTIONS", {})
    monkeypatch.setattr("sagas.projections.timeline.PROJECTIONS", {})

    shown = page(order)
    assert events(shown) == ["orders.OrderPlaced v1 by system"]
    assert shown.context["story"].freshness == ""


def test_what_is_applied_while_the_page_is_read_is_not_called_missing(order):
    told = outbox(order)
    spread()

    click = click_of(correlation_ids(order)[0], told, Answering())
    assert [(event.is_missing, event.sentence != "") for event in click.events] == [(False, True)]


def test_more_events_than_are_shown_are_not_called_missing(order, monkeypatch):
    close(order, "confirmed")
    rows("UPDATE orders_outbox SET correlation_id = 'one' WHERE aggregateid = %s", [order.id])
    spread()
    monkeypatch.setattr("sagas.admin.clicks.MOST", 1)

    assert not any(event.is_missing for event in click_of("one", outbox(order), Answering()).events)


# -- more than is shown ----------------------------------------------------------------------------


@pytest.fixture
def many(monkeypatch):
    """Orders of one click: three that everybody has heard of, and one that nobody has."""
    monkeypatch.setattr(clicks, "LOOKED", 2)
    buyer = a_customer()
    spread()
    with correlated(Correlation(correlation_id="one")):
        placed = [place(buyer) for _ in range(3)]
        spread()
        settle()
        note()
        return [*placed, place(buyer)]


def shown_of(address):
    answer = signed_in("viewer").get(address)
    return answer, answer.content.decode()


def test_an_event_that_is_in_no_timeline_is_shown_however_many_a_click_has_led_to(many):
    answer, text = shown_of(reverse("admin:story", args=["one"]))

    assert len(events(answer)) == 4
    assert events(answer)[-1] == f"orders.OrderPlaced v1 by system{MISSING}"
    assert ONE in freshness(answer)
    assert "Of each outbox no more than 2 were looked at, those that wait first." in text


def click():
    there = Answering()
    return click_of("one", told_under("one", there), there)


def test_what_may_be_missing_on_the_page_of_a_click_is_said_there(many, monkeypatch):
    last = "Of orders.timeline the first 1 are shown, and those that an outbox still has."
    assert last not in click().freshness
    monkeypatch.setattr(clicks, "MOST", 1)
    assert last in click().freshness

    monkeypatch.setattr(clicks, "timeline", lambda: None)
    looked = "Of each outbox no more than 2 were looked at, those that wait first."
    assert click().freshness == looked
    monkeypatch.setattr(clicks, "LOOKED", 4)
    assert click().freshness == ""


def test_the_page_of_a_saga_shows_what_waits_and_says_what_it_leaves_out(order, monkeypatch):
    monkeypatch.setattr(clicks, "LOOKED", 1)
    [click] = set(correlation_ids(order))
    spread()
    settle()
    with correlated(Correlation(correlation_id=click)):
        close(order, "confirmed")
    page_of_saga = reverse("admin:sagas_sagainstance_change", args=[order.saga_id])

    answer, text = shown_of(page_of_saga)
    told = [(hop.kind, hop.what) for hop in answer.context["page"].hops]
    assert ("event", "orders.OrderConfirmed #2") in told
    assert "Of each outbox no more than 1 were looked at, those that wait first." in text
    assert "are shown.</p>" not in text
    monkeypatch.setattr("sagas.admin.hops.MOST", 2)
    monkeypatch.setattr("sagas.admin.detail.MOST_HOPS", 2)
    assert "Only the first 2 are shown.</p>" in shown_of(page_of_saga)[1]


def test_the_page_of_the_saga_says_it_as_well(order):
    note()
    saga = SagaInstance.objects.get(id=order.saga_id)
    said = f"{up_to()} {ONE}"

    assert gather(saga).freshness == said
    shown = signed_in("viewer").get(reverse("admin:sagas_sagainstance_change", args=[saga.id]))
    assert said in shown.content.decode()
