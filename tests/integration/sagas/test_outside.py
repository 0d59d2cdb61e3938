"""Events for consumers that are not ours: CloudEvents in a topic exchange, marked by themselves."""

import json
import re
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from time import monotonic

import pytest
import redis
from django.urls import reverse
from kombu import Connection, Queue

from orders.models import Outbox
from sagas import failpoints
from sagas.api import publish, transaction
from sagas.correlation import Correlation, correlated
from sagas.failpoints import FailpointHit
from sagas.models import OutsideLease
from sagas.orchestration import canvas
from sagas.outbox import exchange, outside
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay
from sagas.tasks import relay_outboxes
from tests.databases import rows
from tests.integration.admin.world import signed_in
from tests.integration.sagas.news import (
    Told,
    Whispered,
    a_teller,
    grow_old,
    listen,
    outbox,
    tell,
)

pytestmark = pytest.mark.usefixtures("nobody_listens")


@pytest.fixture
def fail_at(monkeypatch):
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")


@pytest.fixture
def on(settings):
    settings.CLOUDEVENTS_EXCHANGE = "trial.events"
    settings.CLOUDEVENTS_SOURCE = "https://shop.example"


class Others:
    """A consumer that is not ours, with a queue bound to the exchange."""

    def __init__(self, connection, asked="orders.#"):
        self.connection = connection
        self.queue = Queue(f"others of {asked}", exchange.exchange(), routing_key=asked)
        self.queue(connection.channel()).declare()

    def take(self):
        """Every message that has arrived."""
        found = []
        bound = self.queue(self.connection.default_channel)
        while message := bound.get(no_ack=True):
            found.append(message)
        return found

    def texts(self):
        return [json.loads(message.body)["data"]["text"] for message in self.take()]


@pytest.fixture
def others(on):
    with Connection(exchange.address()) as connection:
        yield Others(connection)


def due():
    return Outbox.objects.filter(outside_due=True).count()


def let_the_delay_be_over():
    rows("UPDATE sagas_outsidelease SET leased_until = clock_timestamp()")


def test_an_event_is_published_as_a_cloud_event(others):
    teller = a_teller()
    with correlated(
        Correlation(
            correlation_id="click-1",
            causation_id=None,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
    ):
        [event_id] = tell(teller, "héllo")

    assert outside.send() == 1
    [message] = others.take()
    told = json.loads(message.body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", told.pop("time"))
    assert told == {
        "specversion": "1.0",
        "id": event_id,
        "source": "https://shop.example/orders",
        "type": "orders.TrialTold",
        "subject": f"orders.customer/{teller.id}",
        "datacontenttype": "application/json",
        "dataschema": "https://shop.example/schemas/orders.TrialTold/1",
        "sequence": "00000000000000000001",
        "correlationid": "click-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": {"text": "héllo"},
    }
    assert message.content_type == "application/cloudevents+json"
    assert message.delivery_info["routing_key"] == "orders.TrialTold"
    row = outbox(event_id=event_id)
    assert (row.outside_due, row.outside_at is None, row.published_at) == (False, False, None)
    assert outside.send() == 0


def test_what_a_consumer_did_not_ask_for_does_not_reach_it(others):
    choosy = Others(others.connection, asked="orders.TrialWhispered")
    teller = a_teller()
    tell(teller, "told")
    tell(teller, "whispered", event=Whispered)

    assert outside.send() == 2
    assert choosy.texts() == ["whispered"]
    assert others.texts() == ["told", "whispered"]


def test_switched_off_nothing_is_due_and_nothing_is_sent_when_it_is_switched_on(settings):
    tell(a_teller(), "hello")
    assert (due(), outside.send()) == (0, 0)

    settings.CLOUDEVENTS_EXCHANGE = "trial.events"
    assert outside.send() == 0


def test_where_nobody_is_bound_nothing_piles_up(on, settings):
    tell(a_teller(), *"abc")

    assert outside.send() == 3
    with redis.Redis.from_url(settings.REDIS_URL.replace("db=1", "db=0")) as client:
        lists = {key for key in client.scan_iter() if client.type(key) == b"list"}
    assert lists <= {b"concord:fresh"}, "only what the commit has rung for"


def test_a_long_backlog_goes_out_in_batches_in_its_order(others, settings):
    settings.SAGAS = {**settings.SAGAS, "OUTSIDE_BATCH": 2}
    tell(a_teller(), *"abcde")

    assert outside.send() == 5
    assert others.texts() == list("abcde")


def test_a_run_whose_time_is_spent_leaves_the_rest_to_the_next_tick(others, settings, monkeypatch):
    settings.SAGAS = {**settings.SAGAS, "OUTSIDE_BATCH": 2}
    tell(a_teller(), *"abcde")
    answers = iter([False, False, False])
    monkeypatch.setattr(outside._Lease, "is_spent", lambda _: next(answers, True))

    assert outside.send() == 2
    assert (due(), others.texts()) == (3, ["a", "b"])
    monkeypatch.undo()
    assert outside.send() == 3


@pytest.mark.parametrize(
    ("place", "sent", "left"),
    [("outside.selected", 0, 1), ("outside.published", 1, 1), ("outside.committed", 1, 0)],
)
def test_a_sender_that_dies_loses_nothing_and_what_comes_twice_has_one_id(
    others, fail_at, place, sent, left
):
    [event_id] = tell(a_teller(), "hello")
    fail_at(place)
    with pytest.raises(FailpointHit):
        outside.send()
    first = others.take()
    assert (len(first), due()) == (sent, left)

    assert outside.send() == 0, "the lease of the dead sender still runs"
    let_the_delay_be_over()
    assert outside.send() == left
    ids = {json.loads(message.body)["id"] for message in first + others.take()}
    assert ids == {event_id}


def test_a_broker_that_fails_half_way_has_what_it_took_marked_and_gets_the_rest_later(
    others, monkeypatch
):
    tell(a_teller(), *"abcd")
    really, answers = exchange._publish, iter([True, True, False])

    def failing(*arguments):
        if not next(answers):
            raise ConnectionResetError("gone")
        really(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(exchange, "_publish", failing)
        outside.send()
    assert due() == 2
    assert "ConnectionResetError: gone" in outside.trouble()

    let_the_delay_be_over()
    assert outside.send() == 2
    assert others.texts() == list("abcd")
    assert outside.trouble() == ""


def test_a_broker_that_is_not_there_is_tried_again_after_a_delay_that_grows(on, settings, caplog):
    settings.CLOUDEVENTS_BROKER_URL = "redis://127.0.0.1:1/0"
    settings.SAGAS = {**settings.SAGAS, "DELAY_BASE": 100, "DELAY_CAP": 150}
    tell(a_teller(), "hello")
    delays = []
    for _ in range(3):
        assert outside.send() == 0
        delays += rows(
            "SELECT extract(epoch FROM leased_until - changed_at) FROM sagas_outsidelease"
        )
        assert outside.send() == 0, "not before the delay is over"
        let_the_delay_be_over()

    assert [round(delay) for (delay,) in delays] == [100, 150, 150]
    assert OutsideLease.objects.get().failures == 3
    assert "outside_away" in {record.message for record in caplog.records}
    assert due() == 1


@pytest.fixture
def a_broker_that_hangs(settings):
    """It takes connections and never says a word; counts those that have come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port, came = server.getsockname()[1], []

        def connections():
            with suppress(BlockingIOError), ExitStack() as taken:
                while True:
                    came.append(taken.enter_context(server.accept()[0]))
            return len(came)

        yield {
            "redis": f"redis://127.0.0.1:{port}/0",
            "amqp": f"amqp://127.0.0.1:{port}//",
            "connections": connections,
        }


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_broker_that_hangs_costs_one_bounded_wait_and_our_own_deliveries_none(
    on, settings, broker, a_broker_that_hangs, kind
):
    settings.CLOUDEVENTS_BROKER_URL = a_broker_that_hangs[kind]
    settings.SAGAS = {**settings.SAGAS, "OUTSIDE_TIMEOUT": 0.5}
    listen()
    [event_id] = tell(a_teller(), "hello")

    began = monotonic()
    assert outside.send() == 0
    assert 0.5 <= monotonic() - began < 15
    came = a_broker_that_hangs["connections"]()
    assert came > 0
    relay_outboxes()
    assert outbox(event_id=event_id).published_at is not None
    assert "sagas.deliver" in {message.task for message in broker.take()}
    assert outside.send() == 0
    assert a_broker_that_hangs["connections"]() == came, "nobody else waits for it"


def test_our_own_broker_that_is_away_does_not_keep_events_from_the_outside(others, monkeypatch):
    listen()
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: False)
    [event_id] = tell(a_teller(), "hello")

    assert relay() == 0
    assert outside.send() == 1
    assert others.texts() == ["hello"]
    assert outbox(event_id=event_id).published_at is None


def test_the_relay_rings_for_the_outside(on, broker):
    tell(a_teller(), "hello")
    broker.take()
    relay_outboxes("orders")

    assert [message.task for message in broker.take()] == ["sagas.send_outside"]


def test_a_sender_that_froze_and_thaws_doubles_events_and_brings_none_out_of_order(
    others, monkeypatch
):
    """See Note [First come in order]: the second sends everything while the first is frozen."""
    teller = a_teller()
    tell(teller, *"abcd")
    really, frozen = exchange._publish, []

    def freezing(producer, document, bound):
        really(producer, document, bound)
        if document["data"]["text"] == "b" and not frozen:
            frozen.append("b")
            tell(teller, "e")
            let_the_delay_be_over()
            assert outside.send() == 5
            frozen.append(outbox().values_list("outside_at", flat=True)[0])

    monkeypatch.setattr(exchange, "_publish", freezing)
    outside.send()

    seen = others.texts()
    assert seen == list("ababcdecd")
    assert list(dict.fromkeys(seen)) == list("abcde")
    assert due() == 0
    assert outbox().values_list("outside_at", flat=True)[0] == frozen[1], "the first time counts"


def test_a_sender_that_has_lost_its_lease_begins_no_further_batch(others, settings, monkeypatch):
    settings.SAGAS = {**settings.SAGAS, "OUTSIDE_BATCH": 1}
    tell(a_teller(), *"ab")
    really, lost = exchange._publish, []

    def losing(*arguments):
        really(*arguments)
        if not lost:
            lost.append(True)
            rows(
                "UPDATE sagas_outsidelease"
                " SET leased_until = leased_until + make_interval(secs => 60)"
            )

    monkeypatch.setattr(exchange, "_publish", losing)

    assert outside.send() == 1
    assert due() == 1
    assert outside.send() == 0, "the other's lease is left as it is"


def test_an_event_is_kept_until_it_has_got_outside(others, settings):
    tell(a_teller(), "hello")
    relay()
    grow_old(86_400 * 31)
    assert prune() == 0

    outside.send()
    assert prune() == 1


def test_what_gets_outside_is_on_the_disk_before(others, monkeypatch):
    """The event's own commit does not wait, and nobody else writes the log meanwhile."""
    rows("ALTER SYSTEM SET wal_writer_delay = '10s'")
    rows("SELECT pg_reload_conf()")
    places = []
    really = exchange._publish

    def looking(*arguments):
        places.extend(rows("SELECT pg_current_wal_flush_lsn() - '0/0'"))
        really(*arguments)

    monkeypatch.setattr(exchange, "_publish", looking)
    try:
        rows("SET synchronous_commit = off")
        teller = a_teller()
        with transaction("orders"):
            publish(Told(text="hello"), aggregate=teller)
            # Before the commit: what other databases of the server write comes behind it.
            places.extend(rows("SELECT pg_current_wal_insert_lsn() - '0/0'"))
        rows("SET synchronous_commit = on")
        assert outside.send() == 1
    finally:
        rows("ALTER SYSTEM RESET wal_writer_delay")
        rows("SELECT pg_reload_conf()")

    [(written,), (on_disk,)] = places
    assert on_disk >= written


def test_what_was_due_when_the_outside_was_switched_off_is_pruned_as_ever(on, settings):
    tell(a_teller(), "hello")
    relay()
    grow_old(86_400 * 31)
    settings.CLOUDEVENTS_EXCHANGE = ""

    assert prune() == 1


def test_what_waits_for_the_outside_is_seen_by_monitoring_and_by_operators(client, on, settings):
    settings.CLOUDEVENTS_BROKER_URL = "redis://127.0.0.1:1/0"
    tell(a_teller(), *"ab")
    outside.send()

    figures = client.get("/metrics").content.decode()
    assert 'concord_outside_unpublished{context="orders"} 2.0' in figures
    page = signed_in("viewer").get(reverse("admin:index")).content.decode()
    assert "Events of orders for the outside" in page
    assert "Events for the outside are not taken: " in page
