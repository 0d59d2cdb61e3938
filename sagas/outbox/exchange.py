"""The topic exchange of the outside: which broker, and a bound for every wait for it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import current_app
from django.conf import settings
from kombu import Connection, Exchange, Producer
from kombu.exceptions import KombuError

from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.outbox.cloudevents import CONTENT_TYPE

DURABLE = 2


class Away(SagasError):
    """The broker of the outside did not take an event in time."""


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


@contextmanager
def opened() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Connect, and give a function that publishes one document and returns when it is taken.

    :raises Away: if the broker does not answer, or not in time
    """
    bound = float(conf.OUTSIDE_TIMEOUT)
    connection = Connection(
        address(), connect_timeout=bound, transport_options=_options(address(), bound)
    )
    lost: tuple[type[BaseException], ...] = (
        *connection.connection_errors,
        *connection.channel_errors,
        KombuError,
        OSError,
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        producer = Producer(connection.channel(), exchange(), auto_declare=True)
        yield lambda document: _publish(producer, document, bound)
        connection.release()
    except lost as error:
        raise Away(f"{type(error).__name__}: {error}") from error
    finally:
        # Without a word, unless it is released: a farewell to a broker that hangs would hang too.
        connection.collect(socket_timeout=bound)


def exchange() -> Exchange:
    """Describe the exchange as both sides declare it."""
    return Exchange(settings.CLOUDEVENTS_EXCHANGE, type="topic", durable=True)


def _publish(producer: Producer, document: dict[str, Any], bound: float) -> None:
    producer.publish(
        json.dumps(document, ensure_ascii=False).encode(),
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
