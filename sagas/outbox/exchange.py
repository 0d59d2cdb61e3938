"""The topic exchange of the outside: which broker, and a bound for every wait for it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import amqp
import redis
from celery import current_app
from celery.canvas import Signature
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from kombu import Connection, Exchange, Producer
from kombu.exceptions import KombuError, SerializationError

from sagas import error_texts
from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.orchestration import canvas
from sagas.outbox.cloudevents import CONTENT_TYPE

DURABLE: Final = 2
OUTSIDE: Final = "the outside"
"""Who could not take an event, in a dead letter; no app can have this label."""
Errors = tuple[type[BaseException], ...]
# Although they count as errors of a connection or a channel, they are about one message.
_OF_ONE_MESSAGE: Final[Errors] = (
    amqp.PreconditionFailed,
    amqp.ContentTooLarge,
    amqp.FrameSyntaxError,
    redis.DataError,
    SerializationError,
)


class Away(SagasError):
    """The broker of the outside did not take an event in time."""


class Refused(SagasError):
    """The broker is there and does not take this event, or nobody can write it down."""


class TooLarge(SagasError):
    """An event has more bytes than OUTSIDE_BYTES allows."""


def is_on() -> bool:
    """Return whether events go to the outside at all."""
    return bool(getattr(settings, "CLOUDEVENTS_EXCHANGE", ""))


def base() -> str:
    """Return the address under which sources and schemas are named."""
    return str(getattr(settings, "CLOUDEVENTS_SOURCE", "") or "urn:concord:shop")


def address() -> str:
    """Return the broker: one of its own, else the one of the tasks."""
    own: str | None = getattr(settings, "CLOUDEVENTS_BROKER_URL", None)
    return own or str(current_app.conf.broker_url)


def ring() -> None:
    """Have what waits for the outside sent at once; beat is the guarantee."""
    if is_on():
        canvas.publish(
            Signature(
                "sagas.send_outside", options={"queue": "ticks"}, immutable=True, app=current_app
            )
        )


@contextmanager
def opened() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Connect, and give a function that publishes one document and returns when it is taken.

    That function raises ``Refused`` for a document that is not taken, and others may be after it.

    :raises Away: if the broker does not answer, or not in time
    """
    bound = float(conf.OUTSIDE_TIMEOUT)
    connection = Connection(
        address(), connect_timeout=bound, transport_options=_options(address(), bound)
    )
    lost: Errors = (
        *connection.connection_errors,
        *connection.channel_errors,
        KombuError,
        OSError,
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        yield _Publisher(connection, bound, lost).publish
        connection.release()
    except lost as error:
        raise Away(f"{type(error).__name__}: {error}") from error
    finally:
        # Without a word, unless it is released: a farewell to a broker that hangs would hang too.
        connection.collect(socket_timeout=bound)


class _Publisher:
    """Tells apart whether a broker is away or refuses one event."""

    def __init__(self, connection: Connection, bound: float, lost: Errors) -> None:
        self.connection, self.bound, self.lost = connection, bound, lost
        self.producer = Producer(connection.channel(), exchange(), auto_declare=True)
        self.refused = False

    def publish(self, document: dict[str, Any]) -> None:
        if self.refused:
            # RabbitMQ says no by closing the channel.
            self.producer.revive(self.connection.channel())
            self.refused = False
        try:
            _publish(self.producer, document, self.bound)
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if isinstance(error, self.lost) and not isinstance(error, _OF_ONE_MESSAGE):
                raise
            # Whatever else it is, it is about this event, and the others go on.
            self.refused = True
            raise Refused(error_texts.text_of(error)) from error


def exchange() -> Exchange:
    """Describe the exchange as both sides declare it."""
    return Exchange(settings.CLOUDEVENTS_EXCHANGE, type="topic", durable=True)


def _publish(producer: Producer, document: dict[str, Any], bound: float) -> None:
    body = json.dumps(document, ensure_ascii=False).encode()
    if len(body) > conf.OUTSIDE_BYTES:
        # Said here, since some brokers only hang up, which looks as if they were away.
        raise TooLarge(f"{len(body)} bytes, and OUTSIDE_BYTES allows {conf.OUTSIDE_BYTES:.0f}")
    producer.publish(
        body,
        routing_key=document["type"],
        content_type=CONTENT_TYPE,
        content_encoding="utf-8",
        delivery_mode=DURABLE,
        message_id=document["id"],
        retry=False,
        timeout=bound,
        confirm_timeout=bound,
    )


def _options(url: str, bound: float) -> dict[str, Any]:
    if url.startswith(("redis", "valkey", "sentinel")):
        return {"socket_timeout": bound, "socket_connect_timeout": bound, "max_retries": 0}
    if url.startswith(("amqp", "pyamqp")):
        # Taken means written by the broker, not sent to it.
        return {"confirm_publish": True, "read_timeout": bound, "write_timeout": bound}
    return {}
