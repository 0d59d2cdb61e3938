"""What is looked at in a delivery of RabbitMQ; ``tests/workers/test_rubbish.py`` has a real one."""

import logging
from struct import pack

import amqp
import pytest
from kombu.transport import get_transport_cls, pyamqp

from sagas import broker, rabbitmq
from tests.rubbish_on_rabbitmq import REFUSED, TAKEN


def delivered(message):
    """A message as it comes out of the socket."""
    body = message.body if isinstance(message.body, bytes) else message.body.encode()
    arrived = amqp.Message(frame_method=(60, 60))
    arrived.inbound_header(pack(">HxxQ", 60, len(body)) + message._serialize_properties())
    if body:
        arrived.inbound_body(body)
    return arrived


@pytest.mark.parametrize("message", REFUSED.values(), ids=REFUSED)
def test_what_nobody_can_read_is_refused(caplog, message):
    with caplog.at_level(logging.WARNING, "sagas.unreadable"):
        assert rabbitmq.is_readable(None, delivered(message), "steps") is False
    assert [record.message for record in caplog.records] == ["message_unreadable"]


@pytest.mark.parametrize("message", TAKEN.values(), ids=TAKEN)
def test_what_can_be_read_is_handed_on(message):
    assert rabbitmq.is_readable(None, delivered(message), "steps") is True


class Channel(rabbitmq.Channel):
    """One without a server."""

    def __init__(self, *, no_ack):
        self.no_ack_consumers = {"c"} if no_ack else set()
        self.rejected, self.callbacks, self.taken = [], {"c": self.take}, []

    def take(self, message):
        self.taken.append(message.delivery_info["delivery_tag"])

    def basic_reject(self, delivery_tag, requeue):
        self.rejected.append((delivery_tag, requeue))

    def deliver(self, tag, message):
        self._on_basic_deliver("c", tag, False, "", "steps", delivered(message))


@pytest.mark.parametrize(("no_ack", "rejected"), [(False, [(2, False)]), (True, [])])
def test_what_is_refused_leaves_its_queue_and_what_comes_after_it_is_handed_on(no_ack, rejected):
    channel = Channel(no_ack=no_ack)
    channel.deliver(1, TAKEN["eta rubbish"])
    channel.deliver(2, REFUSED["content type no text"])
    channel.deliver(3, TAKEN["eta rubbish"])

    assert channel.taken == [1, 3]
    assert channel.rejected == rejected


def test_what_nobody_can_read_is_kept_before_it_is_refused(monkeypatch):
    channel, seen = Channel(no_ack=False), []
    monkeypatch.setattr(
        rabbitmq, "keep", lambda found, why: seen.append((found, why, list(channel.rejected)))
    )
    channel.deliver(7, REFUSED["task number"])

    [(found, why, rejected_before)] = seen
    assert (found.queue, rejected_before, channel.rejected) == ("steps", [], [(7, False)])
    assert found.body == REFUSED["task number"].body
    assert found.headers["task"] == 5
    assert why == "its task is missing, or of a wrong kind"


def test_of_a_message_without_readable_properties_the_body_is_kept(monkeypatch):
    seen = []
    monkeypatch.setattr(rabbitmq, "keep", lambda *told: seen.append(told))
    Channel(no_ack=False).deliver(1, REFUSED["content type no text"])

    [(found, why)] = seen
    assert found.body == REFUSED["content type no text"].body
    assert why.startswith("its properties cannot be read: UnicodeDecodeError")


@pytest.mark.parametrize("name", ["amqp", "amqps", "pyamqp"])
def test_every_address_of_a_rabbitmq_leads_to_it(name):
    broker.use()
    transport = get_transport_cls(name)

    assert transport.__module__ == "sagas.rabbitmq"
    assert issubclass(transport, pyamqp.Transport)
    assert transport.Connection.Channel is rabbitmq.Channel
