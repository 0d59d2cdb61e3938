import contextlib
import logging

import pytest
import redis
from celery import current_app
from django.conf import settings
from kombu import Connection, Exchange, Queue
from kombu.common import ignore_errors

from config.chaos.injections.messages import PREFIX, RUBBISH, message
from sagas import unreadable
from sagas.broker import Transport
from tests.integration.sagas.rubbish_kept import kept, nobody_has_knocked
from tests.rubbish import DROPPED, altered

__all__ = ["nobody_has_knocked"]

QUEUE = Queue("unreadable", routing_key="unreadable")


@pytest.fixture
def broker():
    with redis.Redis.from_url(settings.REDIS_URL.replace("db=1", "db=0")) as client:
        client.flushdb()
        yield client
        client.flushdb()


def received(connection, count):
    found = []

    def take(_body, arrived):
        found.append(arrived.headers["task"])
        arrived.ack()

    with connection.Consumer(QUEUE, callbacks=[take]):
        while len(found) < count:
            connection.drain_events(timeout=30)
    return found


def test_the_worker_speaks_through_it():
    assert current_app.connection_for_read().get_transport_cls() is Transport


WRONG = {**RUBBISH, "no text": b"\xff", **DROPPED}


@pytest.mark.parametrize("rubbish", WRONG.values(), ids=WRONG)
def test_what_nobody_can_read_is_kept_and_what_comes_after_it_is_read(broker, caplog, rubbish):
    broker.rpush(f"{PREFIX}unreadable", message("after", [], "unreadable"), rubbish)

    with (
        caplog.at_level(logging.WARNING, "sagas.unreadable"),
        Connection(
            settings.CELERY_BROKER_URL,
            transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        ) as connection,
    ):
        assert received(connection, 1) == ["after"]

    assert [record.message for record in caplog.records] == ["message_unreadable"]
    assert broker.llen(f"{PREFIX}unreadable") == 0


def test_what_is_told_to_all_workers_and_cannot_be_read_is_dropped(broker, caplog):
    exchange = Exchange("told", type="fanout")
    with (
        caplog.at_level(logging.WARNING, "sagas.unreadable"),
        Connection(
            settings.CELERY_BROKER_URL,
            transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        ) as connection,
    ):
        heard = []
        told = Queue("told", exchange)
        with connection.Consumer(told, callbacks=[lambda body, _: heard.append(body)], no_ack=True):
            while not broker.pubsub_numpat():
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)
            channel = connection.default_channel
            for rubbish in (b"[" * 200_000, b'{"__type__": "bytes", "__value__": 5}'):
                channel.client.publish(channel._get_publish_topic("told", ""), rubbish)
            connection.Producer().publish({"method": "ping"}, exchange=exchange)
            while not heard:
                connection.drain_events(timeout=30)

    assert heard == [{"method": "ping"}]
    assert [record.message for record in caplog.records] == ["message_unreadable"] * 2


REASONS = {
    "nested": "is no JSON that can be read: RecursionError",
    "nested argument": "nested more than 100 levels",
    "hook text": "is no JSON that can be read",
    "task list": "its task is missing, or of a wrong kind",
    "task of old": "protocol 1",
    "body short": "not the arguments of a task",
    "routing": "its exchange is missing",
    "content type data": "its content is not encoded",
    "compression": "it cannot be unpacked",
    "pickled": "encoded as application/x-python-serialize, which is not accepted",
    "large": "too large: more than 1048576 bytes",
}


@pytest.mark.parametrize(("name", "reason"), REASONS.items(), ids=REASONS)
def test_what_nobody_can_read_is_kept_with_its_bytes_and_a_reason_in_words(
    broker, committed_db, nobody_has_knocked, name, reason
):
    broker.rpush(f"{PREFIX}unreadable", message("after", [], "unreadable"), DROPPED[name])

    with Connection(
        settings.CELERY_BROKER_URL,
        transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    ) as connection:
        assert received(connection, 1) == ["after"]

    [row] = kept()
    assert reason in row.reason
    assert row.queue == "unreadable"
    assert bytes(row.body) == DROPPED[name][: unreadable.BODY]
    assert row.size == len(DROPPED[name])


def test_two_messages_of_the_same_content_are_one_row_whatever_their_ids(
    broker, committed_db, nobody_has_knocked
):
    for number in ("1", "2"):
        rubbish = altered(headers={"id": number, "task": []}, properties={"delivery_tag": number})
        broker.rpush(f"{PREFIX}unreadable", rubbish)
    broker.lpush(f"{PREFIX}unreadable", message("after", [], "unreadable"))

    with Connection(
        settings.CELERY_BROKER_URL,
        transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    ) as connection:
        assert received(connection, 1) == ["after"]

    assert [row.times for row in kept()] == [2]


def test_a_channel_keeps_one_client_for_its_commands_until_its_pool_is_closed(broker):
    with Connection(
        settings.CELERY_BROKER_URL,
        transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    ) as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
        channel._disconnect_pools()
        with channel.conn_or_acquire() as third:
            assert third is not first
            assert third.ping()
        # Whoever waits for messages holds a connection, so that is a client of its own.
        assert channel.client is not third


def test_a_connection_is_closed_with_messages_in_hand_though_its_server_was_away(broker):
    broker.lpush(f"{PREFIX}unreadable", message("ours", [], "unreadable"))
    connection = Connection(
        settings.CELERY_BROKER_URL, transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS
    )
    channel = connection.default_channel
    in_hand = []
    connection.Consumer(QUEUE, callbacks=[lambda _, found: in_hand.append(found)]).consume()
    while not in_hand:
        connection.drain_events(timeout=30)
    # A worker that has lost its connection collects it; what fails then is passed over, and the
    # channel stays open without a connection. Then the worker closes.
    channel._disconnect_pools()
    connection._do_close_transport()
    ignore_errors(connection, connection.close)

    assert channel.closed
    assert broker.hlen("unacked") + broker.hlen(f"{PREFIX}unacked") == 1, "it comes again later"
