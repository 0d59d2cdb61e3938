"""Who tells what, and who listens, and what `check` says where the two do not fit."""

from dataclasses import dataclass

import pytest

from orders.events import OrderPlaced
from sagas.outbox import event_map, subscriptions
from sagas.outbox.checks import check_events
from sagas.outbox.subscriptions import SUBSCRIPTIONS, Subscription


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    order_id: str


@pytest.fixture(autouse=True)
def subscribed(monkeypatch):
    """What a test subscribes is forgotten after it."""
    monkeypatch.setattr(
        subscriptions, "SUBSCRIPTIONS", {key: [*ones] for key, ones in SUBSCRIPTIONS.items()}
    )


def listen(event, version=1, context="billing"):
    def hear(seen):
        """Hear it."""

    heard = Subscription(event=event, version=version, context=context, payload=Seen, handler=hear)
    subscriptions.SUBSCRIPTIONS.setdefault((event, version), []).append(heard)


def found(label):
    return next(one for one in event_map.event_map() if one.label == label)


def test_the_events_and_handlers_of_the_project_fit():
    assert check_events() == []


def test_a_listener_to_what_nobody_publishes_is_an_error_with_the_nearest_name():
    listen("orders.OrderPlaces")

    [error] = check_events()

    assert (error.id, error.hint) == ("sagas.E020", "Did you mean orders.OrderPlaced v1?")
    assert "listens to orders.OrderPlaces v1, which no context publishes" in error.msg


def test_a_listener_to_a_version_that_nobody_publishes_is_an_error():
    listen("orders.OrderPlaced", version=2)

    [error] = check_events()

    assert error.id == "sagas.E020"
    assert "orders.OrderPlaced v2" in error.msg


@pytest.fixture
def unheard(monkeypatch):
    """Nobody within the project listens to ``orders.OrderPlaced``."""
    others = {key: found for key, found in SUBSCRIPTIONS.items() if key[0] != OrderPlaced.name}
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", others)


def test_an_event_that_nobody_reads_is_a_warning(monkeypatch, unheard):
    monkeypatch.setattr(OrderPlaced, "outside", "")

    [warning] = check_events()

    assert (warning.id, warning.msg) == ("sagas.W020", "nobody listens to orders.OrderPlaced v1")


def test_an_event_that_is_read_outside_is_listed_with_its_reader(unheard):
    one = found("orders.OrderPlaced v1")

    assert one.listeners == ()
    assert "audit.v_events" in one.outside


def test_what_is_heard_stands_beside_who_tells_it():
    one = found("payments.PaymentCaptured v1")

    assert one.context == "payments"
    assert [(heard.context, heard.handler.__name__) for heard in one.listeners] == [
        ("billing", "book_payment"),
        ("orders", "captured"),
        ("orders", "line_of_capture"),
    ]


def test_what_the_engine_is_asked_is_no_event():
    listen("orders.SagaStartAsked", context="sagas")

    assert "orders.SagaStartAsked" not in {one.name for one in event_map.event_map()}


def test_every_event_is_published_somewhere():
    assert [
        one.label
        for one in event_map.event_map()
        if one.event and not event_map.places_of(one.event)
    ] == []
