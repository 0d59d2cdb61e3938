"""Events for readers outside: in a stream of Redis, in order, each at least once."""

import json
from collections import Counter
from datetime import datetime

import pytest
import redis
from django.conf import settings as project

from sagas import failpoints
from sagas.checks import check_stream
from sagas.failpoints import FailpointHit
from sagas.outbox import stream
from sagas.outbox.relay import relay, relay_batch
from tests.databases import rows
from tests.integration.sagas.news import a_teller, grow_old, listen, outbox, tell
from tests.integration.sagas.test_relay import delivered
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens")

NAME = "trial-events"


@pytest.fixture
def entries(settings):
    """Turns the stream on, and reads it."""
    url, _, query = project.REDIS_URL.partition("?")
    settings.RELAY_STREAM = f"{url}/{NAME}?{query}" if query else f"{url}/{NAME}"
    with redis.Redis.from_url(project.REDIS_URL, decode_responses=True) as client:
        client.delete(NAME)
        yield lambda: [entry for _, entry in client.xrange(NAME)]
        client.delete(NAME)


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


def let_all_leases_end():
    rows("UPDATE orders_outbox SET leased_until = NULL WHERE published_at IS NULL")


def test_without_the_setting_nothing_goes_to_a_stream(broker, entries, settings):
    settings.RELAY_STREAM = None
    listen()
    tell(a_teller(), "hello")

    assert relay() == 1
    assert entries() == []


def test_an_event_goes_to_the_stream_with_all_that_is_known_of_it(broker, entries):
    teller = a_teller()
    [event_id] = tell(teller, "hello")

    assert relay() == 1
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


def test_what_a_context_asks_of_the_engine_is_nobodys_business_outside(broker, entries):
    tell(a_teller(), "start a saga with these secrets")
    rows("UPDATE orders_outbox SET aggregatetype = 'orders.saga_request'")
    tell(a_teller(), "hello")

    assert relay() == 2
    assert texts(entries) == ["hello"]


def test_those_who_listen_within_the_project_are_told_as_ever(broker, entries):
    listen()
    [event_id] = tell(a_teller(), "hello")
    relay()

    assert delivered(broker) == [("billing", event_id)]
    assert outbox(event_id=event_id).published_at is not None


def test_a_stream_that_cannot_be_reached_keeps_the_events_and_holds_up_no_delivery(
    broker, entries, settings, caplog
):
    listen()
    [event_id] = tell(a_teller(), "hello")
    right, settings.RELAY_STREAM = settings.RELAY_STREAM, "redis://127.0.0.1:1/0/events"

    assert relay() == 0
    assert delivered(broker) == [("billing", event_id)]
    assert outbox(event_id=event_id).published_at is None
    assert "stream_unreached" in {record.message for record in caplog.records}

    settings.RELAY_STREAM = right
    grow_old()
    assert relay() == 1
    assert texts(entries) == ["hello"]


def test_what_stands_under_the_name_and_is_no_stream_is_left_alone(broker, entries):
    tell(a_teller(), "hello")
    with redis.Redis.from_url(project.REDIS_URL) as client:
        client.set(NAME, "something else")
        assert relay() == 0
        assert client.get(NAME) == b"something else"


@pytest.mark.parametrize(("place", "times"), [("relay.selected", 1), ("relay.published", 2)])
def test_a_relay_that_dies_has_its_events_streamed_by_the_next(
    broker, entries, monkeypatch, place, times
):
    tell(a_teller(), "hello")
    monkeypatch.setattr(failpoints, "_hits", Counter())
    monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")
    with pytest.raises(FailpointHit):
        relay()
    grow_old()

    assert relay() == 1
    assert texts(entries) == ["hello"] * times


def test_the_length_of_the_stream_is_bounded(broker, entries, settings):
    settings.SAGAS = {**settings.SAGAS, "STREAM_LENGTH": 100}
    teller = a_teller()
    for start in range(0, 1000, 250):
        tell(teller, *(str(number) for number in range(start, start + 250)))
        relay()

    # The stream drops whole nodes of a hundred entries.
    assert 100 <= len(entries()) <= 300
    assert texts(entries)[-1] == "999"


def test_an_event_waits_for_the_one_in_front_of_it_that_another_relay_has(
    broker, entries, settings
):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 1}
    teller, other = a_teller(), a_teller()
    tell(teller, "first", "second", "third")
    rows(
        "UPDATE orders_outbox SET leased_until = clock_timestamp() + interval '1 hour'"
        " WHERE sequence = 1"
    )
    tell(other, "fine")
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 500}

    assert relay_batch("orders") == 1
    assert texts(entries) == ["fine"]
    assert outbox().get(sequence=2).attempts == 0, "an attempt that was none"

    let_all_leases_end()
    assert relay_batch("orders") == 3
    assert texts(entries) == ["fine", "first", "second", "third"]


def test_a_hole_in_a_batch_ends_it_for_that_aggregate(broker, entries):
    teller = a_teller()
    tell(teller, "first", "second", "third")
    rows(
        "UPDATE orders_outbox SET leased_until = clock_timestamp() + interval '1 hour'"
        " WHERE sequence = 2"
    )

    assert relay_batch("orders") == 1
    assert texts(entries) == ["first"]
    let_all_leases_end()
    assert relay_batch("orders") == 2
    assert texts(entries) == ["first", "second", "third"]


def test_the_newest_events_do_not_overtake_older_ones_of_their_aggregate(broker, entries, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_FRESH": 2}
    teller = a_teller()
    tell(teller, *"abcd")
    tell(a_teller(), "fresh")

    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 1, "RELAY_FRESH": 2}
    relay("orders")
    assert texts(entries)[0] == "fresh"
    let_all_leases_end()
    for _ in "abcd":
        relay()
    assert texts(entries) == ["fresh", *"abcd"]


def test_several_relays_at_once_keep_the_order_of_every_aggregate(broker, entries, settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 7, "RELAY_FRESH": 3}
    tellers = [a_teller() for _ in range(8)]
    for number in range(12):
        for teller in tellers:
            tell(teller, str(number))

    def work():
        for turn in range(60):
            relay("orders" if turn % 2 else "")
            let_all_leases_end()  # and some are taken away from a relay that is at work on them

    assert raised(together(*[work] * 4)) == []
    relay()

    taken = first_times(entries)
    assert sorted(taken) == sorted((str(t.id), n) for t in tellers for n in range(1, 13))
    for teller in tellers:
        assert [n for id_, n in taken if id_ == str(teller.id)] == list(range(1, 13))


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
