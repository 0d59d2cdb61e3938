"""From outbox rows to delivery messages: leased, published, marked, by any number of relays."""

import threading
from collections import Counter

import pytest

from orders.models import Outbox
from sagas import failpoints
from sagas.failpoints import FailpointHit
from sagas.orchestration import canvas, donekeys
from sagas.outbox.relay import relay, relay_batch
from sagas.transactions import connection_of
from tests.integration.sagas import trial
from tests.integration.sagas.news import (
    Told,
    Whispered,
    a_teller,
    grow_old,
    listen,
    outbox,
    tell,
)
from tests.together import PATIENCE, raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens")


@pytest.fixture
def fail_at(monkeypatch):
    """Arms failpoints in this process, or disarms them."""
    monkeypatch.setattr(failpoints, "_hits", Counter())

    def arm(text):
        monkeypatch.setenv("CONCORD_FAILPOINTS", text)

    return arm


def messages(broker):
    return [message for message in broker.take() if message.task == "sagas.deliver"]


def delivered(broker):
    """The event ids of all delivery messages, with their consumers."""
    return [
        (message.args[1], event_id) for message in messages(broker) for event_id in message.args[2]
    ]


def test_an_event_is_published_to_every_context_that_listens_and_marked(broker):
    listen("billing")
    listen("payments")
    listen("payments")
    [event_id] = tell(a_teller(), "hello")

    assert relay() == 1
    assert sorted(delivered(broker)) == [("billing", event_id), ("payments", event_id)]
    row = outbox(event_id=event_id)
    assert row.published_at is not None
    assert (row.leased_until, row.settled_at, row.attempts) == (None, None, 1)
    assert relay() == 0


def test_an_event_nobody_listens_to_is_marked_and_settled_at_once(broker):
    [event_id] = tell(a_teller(), "psst", event=Whispered)

    assert relay() == 1
    assert delivered(broker) == []
    assert outbox(event_id=event_id).settled_at is not None


def test_a_message_carries_ids_only_and_no_more_than_fit(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SIZE": 3}
    listen()
    ids = tell(a_teller(), *"abcdefg")
    relay()

    sent = messages(broker)
    assert [len(message.args[2]) for message in sent] == [3, 3, 1]
    assert [i for message in sent for i in message.args[2]] == ids
    assert {message.options["queue"] for message in sent} == {"fresh"}


def test_a_long_outbox_is_drained_in_batches(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    listen()
    tell(a_teller(), *"abcde")

    assert relay() == 5
    assert len(delivered(broker)) == 5


def test_a_batch_takes_the_oldest_events_first(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    listen()
    ids = tell(a_teller(), *"abcd")

    assert relay_batch("orders") == 2
    assert [event_id for _, event_id in delivered(broker)] == ids[:2]


def test_events_of_a_transaction_that_is_still_open_are_not_seen_and_not_lost(broker):
    listen()
    first, second = a_teller(), a_teller()
    written, looked = threading.Event(), threading.Event()

    def slow():
        from sagas.api import publish, transaction

        with transaction("orders"):
            publish(Told(text="slow"), aggregate=first)
            written.set()
            assert looked.wait(PATIENCE)

    def other():
        assert written.wait(PATIENCE)
        tell(second, "quick")
        found = relay()
        looked.set()
        return found

    assert together(slow, other)[1] == 1
    assert relay() == 1, "the earlier position that committed later"


def test_two_relays_at_once_publish_each_event_once(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 7}
    listen()
    ids = [event_id for _ in range(10) for event_id in tell(a_teller(), *"abcdefghij")]

    counts = together(*[relay] * 4)

    assert raised(counts) == []
    assert sum(counts) == 100
    assert Counter(event_id for _, event_id in delivered(broker)) == Counter(ids)
    assert Outbox.objects.filter(published_at=None).count() == 0


def test_a_relay_skips_rows_that_another_holds_without_waiting(broker):
    listen()
    held, free = tell(a_teller(), "held"), tell(a_teller(), "free")
    holds, done = threading.Event(), threading.Event()

    def holder():
        with RowLock(held[0]):
            holds.set()
            assert done.wait(PATIENCE)

    def other():
        assert holds.wait(PATIENCE)
        found = relay_batch("orders")
        done.set()
        return found

    assert together(holder, other)[1] == 1
    assert [event_id for _, event_id in delivered(broker)] == free


class RowLock:
    def __init__(self, event_id):
        self.event_id = event_id

    def __enter__(self):
        connection_of("orders").ensure_connection()
        self.transaction = connection_of("orders").connection.transaction()
        self.transaction.__enter__()
        with connection_of("orders").cursor() as cursor:
            cursor.execute("SELECT 1 FROM orders_outbox WHERE id = %s FOR UPDATE", [self.event_id])

    def __exit__(self, *raised):
        return self.transaction.__exit__(*raised)


@pytest.mark.parametrize(("place", "sent_before"), [("relay.selected", 0), ("relay.published", 1)])
def test_a_relay_that_dies_has_its_events_published_again_and_applied_once(
    broker, fail_at, place, sent_before
):
    listen()
    [event_id] = tell(a_teller(), "hello")
    broker.take()
    fail_at(f"{place}=raise:1")
    with pytest.raises(FailpointHit):
        relay()
    first = messages(broker)
    assert len(first) == sent_before
    assert outbox(event_id=event_id).published_at is None

    assert relay() == 0, "the lease of the dead relay still runs"
    grow_old()
    assert relay() == 1
    again = messages(broker)
    assert [message.args for message in again] == [("orders", "billing", [event_id])]
    for message in first + again:
        broker.run_chain(message)
    assert trial.effects() == ["billing:hello#1"]
    assert outbox(event_id=event_id).attempts == 2


def test_a_relay_that_dies_after_the_mark_has_lost_nothing(broker, fail_at):
    listen()
    [event_id] = tell(a_teller(), "hello")
    fail_at("relay.committed/orders=raise")
    with pytest.raises(FailpointHit):
        relay()

    assert outbox(event_id=event_id).published_at is not None
    assert len(delivered(broker)) == 1


def test_a_frozen_relay_that_marks_late_does_not_move_the_time_of_publishing(broker, monkeypatch):
    """The second relay publishes while the first is frozen between publishing and marking."""
    listen()
    [event_id] = tell(a_teller(), "hello")
    seen = []

    def frozen(signature, **_):
        broker.sent.append(signature)
        if not seen:
            seen.append(None)
            grow_old()
            relay()
            seen[0] = outbox(event_id=event_id).published_at
        return True

    monkeypatch.setattr(canvas, "publish", frozen)
    relay()

    assert outbox(event_id=event_id).published_at == seen[0] is not None


def test_when_the_broker_refuses_nothing_is_marked(broker, monkeypatch):
    listen()
    [event_id] = tell(a_teller(), "hello")
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: False)
        assert relay() == 0

    assert outbox(event_id=event_id).published_at is None
    grow_old()
    assert relay() == 1


def test_when_the_broker_takes_only_some_messages_all_are_published_again(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SIZE": 1}
    listen()
    ids = tell(a_teller(), *"abc")
    answers = iter([True, False, True])
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: next(answers))
        assert relay() == 0

    broker.take()
    grow_old()
    assert relay() == 3
    assert [event_id for _, event_id in delivered(broker)] == ids


@pytest.mark.parametrize("hint", ["deliver", "chain"])
def test_a_broker_that_is_not_there_is_a_hint_lost_and_nothing_is_raised(
    settings, caplog, hint, celery_without_broker
):
    listen()
    if hint == "chain":
        saga_id = trial.begin()
        assert saga_id is not None
    else:
        [event_id] = tell(a_teller(), "hello")
        donekeys.client().flushall()
        assert relay() == 0
        assert outbox(event_id=event_id).published_at is None
    assert "hint_lost" in {record.message for record in caplog.records}
