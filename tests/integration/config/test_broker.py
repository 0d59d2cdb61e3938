import logging

import pytest
import redis
from celery import current_app
from django.conf import settings
from kombu import Connection, Queue

from config.broker import Transport
from config.chaos.injections.messages import PREFIX, RUBBISH, message

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
            connection.drain_events(timeout=5)
    return found


def test_the_worker_speaks_through_it():
    assert current_app.connection_for_read().get_transport_cls() is Transport


@pytest.mark.parametrize("rubbish", [*RUBBISH.values(), b"\xff"])
def test_what_nobody_can_read_is_dropped_and_what_comes_after_it_is_read(broker, caplog, rubbish):
    broker.rpush(f"{PREFIX}unreadable", message("after", [], "unreadable"), rubbish)

    with (
        caplog.at_level(logging.WARNING, "config.broker"),
        Connection(
            settings.CELERY_BROKER_URL,
            transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
        ) as connection,
    ):
        assert received(connection, 1) == ["after"]

    assert [record.message for record in caplog.records] == ["message_unreadable"]
    assert broker.llen(f"{PREFIX}unreadable") == 0
