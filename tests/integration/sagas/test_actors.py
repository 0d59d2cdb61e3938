"""Who did what an event tells of, from the transaction to the history."""

import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import reverse

from billing.models import Outbox as BillingOutbox
from config.correlation import CorrelateRequests
from orders.models import Event, Outbox
from sagas.api import correlation, park, publish, transaction
from sagas.management.commands.sagas import ACTS
from sagas.models import OperatorAction
from sagas.orchestration import orchestrator
from sagas.outbox.delivery import deliver
from sagas.outbox.relay import relay
from sagas.streams import reading
from tests.databases import rows
from tests.factories import a_sku
from tests.integration.admin.world import press, signed_in
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.news import Told, a_teller, listen, tell
from tests.integration.web.shopper import a_program

pytestmark = pytest.mark.usefixtures("committed_db")


def actor_of(event_id):
    return Outbox.objects.get(id=event_id).actor


def test_what_nobody_asked_for_is_the_systems():
    [event_id] = tell(a_teller(), "hello")

    assert actor_of(event_id) == "system"


def test_whoever_acts_is_named_and_the_history_keeps_it():
    teller = a_teller()
    with correlation.acting("customer:7"):
        [event_id] = tell(teller, "hello")

    assert actor_of(event_id) == "customer:7"
    [waiting] = reading.read("orders.customer", [teller.id])[teller.id]
    relay()
    [kept] = reading.read("orders.customer", [teller.id])[teller.id]
    assert (waiting.actor, kept.actor, Event.objects.get(id=event_id).actor) == ("customer:7",) * 3
    shown = rows(f"SELECT actor FROM audit.v_events WHERE event_id = '{event_id}'")
    assert shown == [("customer:7",)]


def test_after_the_block_it_is_the_one_before():
    teller = a_teller()
    with correlation.acting("customer:7"):
        with correlation.acting("operator:alice"):
            [inner] = tell(teller, "inner")
        [outer] = tell(teller, "outer")

    assert (actor_of(inner), actor_of(outer)) == ("operator:alice", "customer:7")


def test_a_handler_tells_what_it_does_as_the_system_whoever_delivers_the_event(nobody_listens):
    """The terminal that drains, or the request whose commit rings, has not done it."""
    teller = a_teller()
    told = []

    def handler(_):
        told.append(correlation.current().actor)

    listen(act=handler)
    with correlation.acting("customer:7"):
        [event_id] = tell(teller, "hello")
        deliver("orders", "billing", [event_id])

    assert told == ["system"]


def test_a_step_is_the_systems_whoever_started_the_saga(broker):
    found = []

    def look():
        found.append(correlation.current().actor)

    trial.SCRIPT["hold"] = look
    with correlation.acting("customer:7"):
        trial.begin()
        broker.drain()

    assert found == ["system"]


def test_an_order_says_which_customer_placed_it_and_what_follows_says_system():
    a_sku("MUG")
    program = a_program()
    assert program.order(("MUG", 1)).status_code < 300

    [placed] = Outbox.objects.filter(type="orders.OrderPlaced")
    assert placed.actor == f"customer:{program.customer.id}"
    deliver("orders", "billing", [str(placed.id)])
    assert set(BillingOutbox.objects.values_list("actor", flat=True)) <= {"system"}


def test_a_request_that_has_not_said_who_it_is_is_a_visitors():
    seen = []

    def answer(request):
        seen.append(correlation.current().actor)
        return HttpResponse()

    CorrelateRequests(answer)(RequestFactory().post("/"))

    assert seen == ["visitor"]
    assert correlation.current() is None


def test_in_the_admin_it_is_the_operator_who_signed_in(broker, monkeypatch):
    teller, saga_id = a_teller(), trial.begin()
    act = orchestrator.park

    def telling(*told, **options):
        with transaction("orders"):
            publish(Told(text="parked"), aggregate=teller)
        return act(*told, **options)

    monkeypatch.setattr("sagas.admin.saga_acts.Park.service", staticmethod(telling))
    press(signed_in("administrator"), "sagas_sagainstance", "park", saga_id)

    assert row(saga_id).parked_at is not None
    [by] = OperatorAction.objects.values_list("by", flat=True)
    assert Outbox.objects.get(aggregateid=teller.id).actor == f"operator:{by}"


def test_from_a_terminal_it_is_who_the_command_names(broker, monkeypatch):
    teller, saga_id = a_teller(), trial.begin()

    def telling(*told, **options):
        tell(teller, "parked")
        return park(*told, **options)

    monkeypatch.setitem(ACTS, "park", telling)
    call_command("sagas", "park", str(saga_id), "--reason", "look", "--by", "bob")
    assert Outbox.objects.get(aggregateid=teller.id).actor == "operator:bob"
    assert correlation.current() is None


def test_the_page_of_an_event_says_who_did_it():
    with correlation.acting("operator:alice"):
        [event_id] = tell(a_teller(), "hello")

    event = Outbox.objects.get(id=event_id)
    page = signed_in("viewer").get(reverse("admin:orders_outbox_change", args=[event.position]))
    assert "operator:alice" in page.content.decode()
    story = signed_in("operator").get(reverse("admin:story", args=[event.correlation_id]))
    assert "orders.TrialTold v1 by operator:alice" in story.content.decode()


def test_a_release_that_knows_no_actor_may_still_write_beside_this_one():
    teller = a_teller()
    rows(
        "INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version,"
        " payload, occurred_at, correlation_id) VALUES (gen_random_uuid(), 'orders.customer',"
        f" '{teller.id}', 1, 'orders.TrialWhispered', 1, '{{}}', now(), 'c')"
    )
    relay()

    assert Event.objects.get(aggregateid=teller.id).actor is None
