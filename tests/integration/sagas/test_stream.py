"""Events for readers outside: in a stream of Redis, in order, each at least once."""

import json
import socket
from collections import Counter
from datetime import datetime
from time import monotonic

import pytest
import redis
from django.conf import settings as project

from sagas import failpoints
from sagas.answering import Answering
from sagas.api import publish, transaction
from sagas.checks import check_stream
from sagas.failpoints import FailpointHit
from sagas.orchestration import canvas
from sagas.outbox import stream, streaming
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay
from sagas.outbox.streaming import send, send_batch
from sagas.tasks import relay_outboxes
from sagas.transactions import connection_of
from tests.databases import rows
from tests.integration.sagas.news import Told, a_teller, listen, outbox, tell
from tests.integration.sagas.test_relay import delivered
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens")

NAME = "trial-events"
_URL, _, _QUERY = project.REDIS_URL.partition("?")
ADDRESS = f"{_URL}/{NAME}?{_QUERY}" if _QUERY else f"{_URL}/{NAME}"
NOWHERE = "redis://127.0.0.1:1/0/events"


@pytest.fixture
def entries(settings):
    """Turns the stream on, and reads it."""
    settings.RELAY_STREAM = ADDRESS
    with redis.Redis.from_url(project.REDIS_URL, decode_responses=True) as client:
        client.delete(NAME)
        yield lambda: [entry for _, entry in client.xrange(NAME)]
        client.delete(NAME)


def due():
    return rows("SELECT count(*) FROM orders_streamdue")[0][0]


def tick():
    """What beat does, when no event is left to its ring any more."""
    rows("UPDATE orders_outbox SET created_at = created_at - interval '1 minute'")
    relay_outboxes()


def texts(entries):
    return [json.loads(entry["payload"])["text"] for entry in entries()]


def first_times(entries):
    """What a reader takes that keeps one number an aggregate."""
    seen, taken = {}, []
    for entry in entries():
        number = int(entry["sequence"])
        if number > seen.get(entry["aggregateid"], 0):
            seen[entry["aggregateid"]] = number
            taken.append((entry["aggregateid"], number))
    return taken


def let_the_lease_end():
    rows("UPDATE orders_streamlease SET leased_until = clock_timestamp()")


def test_without_the_setting_nothing_goes_to_a_stream(broker, entries, settings):
    settings.RELAY_STREAM = None
    tell(a_teller(), "hello")
    relay_outboxes()
    assert entries() == []
    assert due() == 0

    tell(a_teller(), "hello")
    settings.RELAY_STREAM = ADDRESS
    assert send("orders") == 0, "whoever publishes decides"


def test_an_event_goes_to_the_stream_with_all_that_is_known_of_it(broker, entries):
    teller = a_teller()
    [event_id] = tell(teller, "hello")

    assert send("orders") == 1
    [entry] = entries()
    row = outbox(event_id=event_id)
    assert entry.keys() == {"producer", *stream.FIELDS}
    assert datetime.fromisoformat(entry.pop("occurred_at")) == row.occurred_at
    assert json.loads(entry.pop("payload")) == {"text": "hello"}
    assert entry == {
        "producer": "orders",
        "id": event_id,
        "type": "orders.TrialTold",
        "version": "1",
        "aggregatetype": "orders.customer",
        "aggregateid": str(teller.id),
        "sequence": "1",
        "correlation_id": row.correlation_id,
        "causation_id": "",
        "traceparent": row.traceparent or "",
    }
    assert (due(), row.published_at) == (0, None)
    assert send("orders") == 0


def test_what_a_context_asks_of_the_engine_is_nobodys_business_outside(broker, entries):
    tell(a_teller(), "start a saga with these secrets")
    rows("UPDATE orders_outbox SET aggregatetype = 'orders.saga_request'")
    tell(a_teller(), "hello")

    assert send("orders") == 2
    assert texts(entries) == ["hello"]


def test_the_relays_task_tells_those_who_listen_and_then_the_stream(broker, entries):
    listen()
    [event_id] = tell(a_teller(), "hello")
    tick()

    assert delivered(broker) == [("billing", event_id)]
    assert outbox(event_id=event_id).published_at is not None
    assert texts(entries) == ["hello"]


def test_a_ring_brings_the_events_of_its_context_into_the_stream(broker, entries):
    tell(a_teller(), "hello")
    relay_outboxes("billing")
    assert entries() == []

    relay_outboxes("orders")
    assert texts(entries) == ["hello"]


def test_a_broker_that_is_away_does_not_keep_events_from_the_stream(broker, entries, monkeypatch):
    listen()
    [event_id] = tell(a_teller(), "hello")
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: False)
    tick()

    assert outbox(event_id=event_id).published_at is None
    assert texts(entries) == ["hello"]


def test_however_many_events_wait_for_a_stream_that_is_away_a_lost_ring_does_not(
    broker, entries, settings
):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    settings.RELAY_STREAM = NOWHERE
    listen()
    tell(a_teller(), *map(str, range(10)))
    tick()
    broker.take()
    [event_id] = tell(a_teller(), "its ring is lost")
    broker.take()

    tick()
    assert delivered(broker) == [("billing", event_id)]
    assert outbox().filter(published_at=None).count() == 0
    assert due() == 11


def test_a_stream_that_cannot_be_reached_keeps_the_events_for_later(
    broker, entries, settings, caplog
):
    settings.RELAY_STREAM = NOWHERE
    tell(a_teller(), "hello")

    assert send("orders") == 0
    assert due() == 1
    assert "stream_unreached" in {record.message for record in caplog.records}
    assert "Events of orders are not taken by the stream" in streaming.trouble(Answering())

    settings.RELAY_STREAM = ADDRESS
    let_the_lease_end()
    assert send("orders") == 1
    assert texts(entries) == ["hello"]
    assert streaming.trouble(Answering()) == ""


def test_a_stream_that_fails_is_tried_again_after_a_delay_that_grows(broker, entries, settings):
    settings.RELAY_STREAM = NOWHERE
    settings.SAGAS = {**settings.SAGAS, "DELAY_BASE": 100, "DELAY_CAP": 150}
    tell(a_teller(), "hello")
    delays = []
    for _ in range(3):
        assert send_batch("orders") is None
        delays += rows(
            "SELECT extract(epoch FROM leased_until - clock_timestamp()) FROM orders_streamlease"
        )
        assert send_batch("orders") is None, "not before the delay is over"
        let_the_lease_end()

    assert [round(delay, -1) for (delay,) in delays] == [100, 150, 150]
    assert rows("SELECT failures FROM orders_streamlease") == [(3,)]


def test_a_stream_that_hangs_costs_one_bounded_wait_and_our_own_deliveries_none(
    broker, entries, settings, monkeypatch
):
    monkeypatch.setattr(stream, "PATIENCE", 0.3)
    listen()
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.RELAY_STREAM = f"redis://127.0.0.1:{server.getsockname()[1]}/0/events"
        [event_id] = tell(a_teller(), "hello")
        began = monotonic()
        tick()
        assert monotonic() - began >= 0.3
        assert delivered(broker) == [("billing", event_id)]
        assert send_batch("orders") is None, "nobody else waits for it"


def test_what_stands_under_the_name_and_is_no_stream_is_left_alone(broker, entries):
    tell(a_teller(), "hello")
    with redis.Redis.from_url(project.REDIS_URL) as client:
        client.set(NAME, "something else")
        assert send("orders") == 0
        assert client.get(NAME) == b"something else"


@pytest.mark.parametrize(
    ("place", "times", "left"),
    [("stream.selected", 1, 1), ("stream.published", 2, 1), ("stream.committed", 1, 0)],
)
def test_a_sender_that_dies_has_its_events_streamed_by_the_next(
    broker, entries, monkeypatch, place, times, left
):
    tell(a_teller(), "hello")
    monkeypatch.setattr(failpoints, "_hits", Counter())
    monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")
    with pytest.raises(FailpointHit):
        send("orders")
    assert due() == left
    assert send_batch("orders") == (None if left else 0), "the lease of the dead sender still runs"

    let_the_lease_end()
    assert send("orders") == left
    assert texts(entries) == ["hello"] * times


def test_the_length_of_the_stream_is_bounded(broker, entries, settings):
    settings.SAGAS = {**settings.SAGAS, "STREAM_LENGTH": 100}
    teller = a_teller()
    for start in range(0, 1000, 250):
        tell(teller, *(str(number) for number in range(start, start + 250)))
        send("orders")

    # The stream drops whole nodes of a hundred entries.
    assert 100 <= len(entries()) <= 300
    assert texts(entries)[-1] == "999"


def test_a_long_backlog_goes_in_batches_in_its_order(broker, entries, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    tell(a_teller(), *"abcde")

    assert send("orders") == 5
    assert texts(entries) == list("abcde")


def test_one_run_ends_though_more_waits(broker, entries, settings, monkeypatch):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 1}
    monkeypatch.setattr(streaming, "MOST_BATCHES", 2)
    tell(a_teller(), *"abc")

    assert (send("orders"), due()) == (2, 1)


def test_whoever_finds_the_lease_taken_leaves_its_event_to_him_who_has_it(
    broker, entries, monkeypatch
):
    """It is committed when the other has read, and nobody rings for it again."""
    teller = a_teller()
    tell(teller, "first")
    really, told = stream.append, []

    def interrupted(context, events):
        really(context, events)
        if not told:
            told.append(tell(teller, "second"))
            assert send_batch("orders") is None

    monkeypatch.setattr(stream, "append", interrupted)
    assert send("orders") == 2
    assert texts(entries) == ["first", "second"]


def test_a_sender_that_froze_and_thaws_doubles_events_and_brings_none_out_of_order(
    broker, entries, monkeypatch, settings
):
    """See Note [The oldest that is due goes first]."""
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 2}
    teller = a_teller()
    tell(teller, *"abcd")
    really, frozen = stream.append, []

    def freezing(context, events):
        if not frozen:
            frozen.append(True)
            let_the_lease_end()
            assert send("orders") == 4
        really(context, events)

    monkeypatch.setattr(stream, "append", freezing)
    assert send_batch("orders") == 2
    assert send("orders") == 0

    assert texts(entries) == list("abcdab")
    assert first_times(entries) == [(str(teller.id), number) for number in range(1, 5)]


def test_a_sender_whose_lease_has_run_out_gives_nobody_elses_back(broker, entries, monkeypatch):
    tell(a_teller(), "hello")
    until = "'2999-01-01 00:00:00+00'"
    really = stream.append

    def taken_over(context, events):
        really(context, events)
        rows(f"UPDATE orders_streamlease SET leased_until = {until}, failures = 3")

    monkeypatch.setattr(stream, "append", taken_over)
    send_batch("orders")
    assert rows(f"SELECT failures FROM orders_streamlease WHERE leased_until = {until}") == [(3,)]

    monkeypatch.setattr(stream, "append", lambda *_: taken_away())

    def taken_away():
        rows(f"UPDATE orders_streamlease SET leased_until = {until}, failures = 3")
        raise stream.Away("gone")

    let_the_lease_end()
    tell(a_teller(), "hello")
    assert send_batch("orders") is None
    assert rows(f"SELECT failures FROM orders_streamlease WHERE leased_until = {until}") == [(3,)]


def test_several_senders_at_once_keep_the_order_of_every_aggregate(broker, entries, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 7}
    tellers = [a_teller() for _ in range(8)]

    def write(own):
        for number in range(24):
            for teller in own:
                tell(teller, str(number))

    def work():
        for _ in range(60):
            send("orders")
            let_the_lease_end()  # and some are taken away from a sender that is at work on them

    writers = [lambda own=tellers[n::2]: write(own) for n in range(2)]
    assert raised(together(*writers, *[work] * 3)) == []
    let_the_lease_end()
    while send("orders"):
        pass

    taken = first_times(entries)
    assert sorted(taken) == sorted((str(t.id), n) for t in tellers for n in range(1, 25))
    for teller in tellers:
        assert [n for id_, n in taken if id_ == str(teller.id)] == list(range(1, 25))


def test_an_event_that_waits_for_the_stream_is_not_pruned(broker, entries, settings):
    tell(a_teller(), "hello")
    relay()
    rows(
        "UPDATE orders_outbox SET published_at = now() - interval '1 year',"
        " settled_at = now() - interval '1 year'"
    )
    prune()
    assert outbox().count() == 1

    settings.RELAY_STREAM = None
    prune()
    assert outbox().count() == 0
    settings.RELAY_STREAM = ADDRESS
    assert send("orders") == 1, "what was pruned while there was no stream keeps nobody waiting"
    assert (due(), entries()) == (0, [])


def waits_for_the_disk(how):
    """Say it in the session that the relay uses, which may be of another database than ``rows``."""
    with connection_of("orders").cursor() as cursor:
        cursor.execute(f"SET synchronous_commit = {how}")


def test_what_gets_into_the_stream_is_on_the_disk_before(broker, entries, monkeypatch):
    """The event's own commit does not wait, and nobody else writes the log meanwhile."""
    rows("ALTER SYSTEM SET wal_writer_delay = '10s'")
    rows("SELECT pg_reload_conf()")
    places = []
    really = stream.append

    def looking(*arguments):
        places.extend(rows("SELECT pg_current_wal_flush_lsn() - '0/0'"))
        really(*arguments)

    monkeypatch.setattr(stream, "append", looking)
    try:
        waits_for_the_disk("off")
        teller = a_teller()
        with transaction("orders"):
            publish(Told(text="hello"), aggregate=teller)
            # Before the commit: what other databases of the server write comes behind it.
            places.extend(rows("SELECT pg_current_wal_insert_lsn() - '0/0'"))
        waits_for_the_disk("on")
        assert send("orders") == 1
    finally:
        rows("ALTER SYSTEM RESET wal_writer_delay")
        rows("SELECT pg_reload_conf()")

    [(written,), (on_disk,)] = places
    assert on_disk >= written


def test_a_context_without_the_tables_of_the_stream_is_refused_at_the_start(settings, monkeypatch):
    settings.RELAY_STREAM = ADDRESS
    assert check_stream() == []

    monkeypatch.setattr("sagas.checks.streamed", lambda: ("orders", "somebody"))
    assert [error.id for error in check_stream()] == ["sagas.E028"]


@pytest.mark.parametrize(
    "address", ["http://example.com/x", "redis://localhost", "redis://h/", "x"]
)
def test_an_address_without_a_stream_is_refused_at_the_start(settings, address):
    settings.RELAY_STREAM = address

    assert [error.id for error in check_stream()] == ["sagas.E014"]


def test_an_address_is_taken_apart_into_server_and_name(settings):
    settings.RELAY_STREAM = "unix:///run/redis.sock/events?db=2"

    assert stream.address() == stream.Address("unix:///run/redis.sock?db=2", "events")
    assert check_stream() == []
