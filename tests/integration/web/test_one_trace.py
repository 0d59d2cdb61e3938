"""One click, followed through everything it causes: one trace id, and a chain of causes."""

import json
import logging
import urllib.request

import pytest
from celery import current_app
from celery.exceptions import Ignore
from django.apps import apps
from django.conf import settings
from django.urls import reverse

from config.logs import JsonLines
from orders.models import Notification, Order
from sagas.contexts import contexts
from sagas.models import SagaInstance, WatchedFlow
from sagas.orchestration import canvas
from sagas.outbox.relay import relay_batch
from tests.factories import a_sku
from tests.integration.admin.world import signed_in
from tests.integration.web.shopper import a_program

pytestmark = pytest.mark.usefixtures("committed_db", "session_provider")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLICK = "click-00000001"
CALLER = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": CLICK}


class Carrier:
    """Takes what would go to the broker, and runs it as a worker does."""

    def __init__(self, monkeypatch):
        self.sent, self.headers = [], []
        monkeypatch.setattr(canvas, "publish", self.publish)

    def publish(self, signature, headers=None, **_):
        self.sent.append(signature)
        self.headers.append((signature.task, headers or {}))
        return True

    def carry_all(self):
        while True:
            for context in contexts():
                relay_batch(context)
            if not self.sent:
                return
            messages, self.sent = self.sent, []
            for message in messages:
                for link in getattr(message, "tasks", [message]):
                    try:
                        current_app.tasks[link.task](*link.args)
                    except Ignore:
                        break


@pytest.fixture
def carrier(monkeypatch):
    return Carrier(monkeypatch)


@pytest.fixture
def lines():
    """What the log says, as documents."""
    written = []
    form = JsonLines()

    class Keeper(logging.Handler):
        def emit(self, record):
            written.append(json.loads(form.format(record)))

    keeper = Keeper()
    engine = logging.getLogger("sagas")
    before = engine.level
    engine.addHandler(keeper)
    engine.setLevel(logging.DEBUG)
    yield written
    engine.removeHandler(keeper)
    engine.setLevel(before)


@pytest.fixture
def order(carrier):
    a_sku("MUG", stock=100, price="250")
    program = a_program()
    carrier.carry_all()
    carrier.headers.clear()
    placed = program.order(("MUG", 50), **CALLER)
    assert placed.headers["X-Request-ID"] == CLICK
    carrier.carry_all()
    return Order.objects.get(id=placed.json()["id"])


def events():
    """Every event of the click, by name."""
    return {
        row.type: row
        for context in contexts()
        for row in apps.get_model(context, "Outbox")._default_manager.filter(correlation_id=CLICK)
    }


def calls(reference):
    request = urllib.request.Request(
        f"{settings.PAYMENT_PROVIDER_URL}/control/calls?reference={reference}",
        headers={"Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"]


def test_a_click_has_one_trace_through_every_hop_and_each_names_its_cause(order, carrier):
    saga = SagaInstance.objects.get(id=order.saga_id)
    assert (saga.status, saga.correlation_id, saga.traceparent[3:35]) == ("completed", CLICK, TRACE)
    chain_headers = [headers for task, headers in carrier.headers if task == "sagas.run_link"]
    assert {headers["traceparent"][3:35] for headers in chain_headers} == {TRACE}

    told = events()
    assert {row.traceparent[3:35] for row in told.values()} == {TRACE}
    causes = {name: row.causation_id for name, row in told.items()}
    steps = (
        "payments.PaymentAuthorized",
        "payments.PaymentCaptured",
        "billing.InvoiceIssued",
        "orders.OrderConfirmed",
    )
    assert {causes[name] for name in steps} == {str(saga.id)}
    assert causes["orders.OrderPlaced"] is None
    assert causes["billing.InvoiceSettled"] == str(told["payments.PaymentCaptured"].id)
    assert causes["billing.CouponGranted"] == str(told["orders.OrderConfirmed"].id)

    flow = WatchedFlow.objects.get()
    assert (flow.correlation_id, flow.traceparent[3:35]) == (CLICK, TRACE)
    inbox = apps.get_model("orders", "Inbox")._default_manager
    assert inbox.filter(event_id=told["billing.CouponGranted"].id).count() == 1
    assert Notification.objects.filter(order=order, template="coupon_granted").count() == 1


def test_the_provider_is_told_the_trace_of_the_click(order):
    payment = apps.get_model("payments", "Payment")._default_manager.get(purpose_id=order.id)

    came = calls(payment.id)

    assert {call["operation"] for call in came} >= {"prepare", "confirm", "capture"}
    assert {(call["correlation_id"], call["traceparent"][3:35]) for call in came} == {
        (CLICK, TRACE)
    }


def test_each_event_of_one_message_is_handled_under_its_own_trace(
    carrier, lines, monkeypatch, settings
):
    from orders import notifications
    from sagas.outbox.delivery import deliver

    a_sku("MUG", stock=200, price="250")
    program = a_program()
    carrier.carry_all()
    traces = {f"click-{n:08}": f"{n:032x}" for n in (1, 2)}
    for click, trace in traces.items():
        caller = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-ID": click}
        assert program.order(("MUG", 50), **caller).status_code == 202

    def fail(*_, **__):
        raise RuntimeError("no paper")

    monkeypatch.setattr(notifications, "tell", fail)
    carrier.carry_all()
    outbox = apps.get_model("billing", "Outbox")._default_manager
    granted = outbox.filter(type="billing.CouponGranted").values_list("id", flat=True)
    lines.clear()
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 50}
    apps.get_model("sagas", "DeadLetter")._default_manager.all().delete()

    deliver("billing", "orders", [str(event_id) for event_id in granted])

    faults = [line for line in lines if line["message"] == "handler_fault"]
    assert {line["correlation_id"]: line["trace_id"] for line in faults} == traces
    assert {line["causation_id"] for line in faults} == {str(event_id) for event_id in granted}


def test_the_page_shows_every_hop_of_the_click_in_its_order(order):
    page = signed_in("viewer").get(reverse("admin:story", args=[CLICK]))

    passages = page.context["passages"]
    assert page.context["trace_id"] == TRACE
    assert [one.at for one in passages] == sorted(one.at for one in passages)
    assert {one.kind for one in passages} == {
        "request",
        "saga",
        "step",
        "event",
        "handler",
        "call",
        "flow",
        "message",
    }
    assert passages[0].text == f"request {CLICK}"
    texts = [one.text for one in passages]
    assert "reserve_stock do: done" in texts
    assert "reward for orders.OrderConfirmed" in texts
    assert any(text.startswith("capture: succeeded, under ") for text in texts)


def test_the_page_of_a_click_that_nobody_made_is_not_there():
    assert signed_in("viewer").get(reverse("admin:story", args=["nobody-00"])).status_code == 404
