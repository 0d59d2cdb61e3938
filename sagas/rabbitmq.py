"""A transport for RabbitMQ that outlives messages which nobody can read, as that for Redis does.

A message that cannot be taken apart is kept for a person (``sagas.unreadable``), then refused. A
worker that is killed in between gets it again, and it is counted twice.
"""

from typing import Any, Final

from amqp import serialization, spec
from kombu.transport import pyamqp

from sagas.broker import Unreadable, look_at_opened, refuse_large, why
from sagas.unreadable import Found, as_bytes, keep

_BROKEN: Final = "broken"
"""The property of a message whose properties could not be read."""


def _properties(theirs: Any) -> Any:
    def read(frame: bytes, offset: int) -> tuple[dict[str, Any], int]:
        try:
            properties: tuple[dict[str, Any], int] = theirs(frame, offset)
        except Exception as broken:  # noqa: BLE001 - it would end the worker before the message is known
            return {_BROKEN: repr(broken)}, len(frame)
        return properties

    return read


# The only place before the delivery: the frame is read where a subclass has no say.
serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID] = _properties(
    serialization.decode_properties_basic
)


class Channel(pyamqp.Channel):
    """Hands on what can be read, and refuses what cannot."""

    def _on_basic_deliver(self, consumer_tag: str, delivery_tag: int, *told: Any) -> None:
        *_, queue, raw = told
        if is_readable(self, raw, queue):
            super()._on_basic_deliver(consumer_tag, delivery_tag, *told)  # type: ignore[misc]  # untyped
        elif consumer_tag not in (self.no_ack_consumers or ()):
            self.basic_reject(delivery_tag, requeue=False)


def is_readable(channel: Any, raw: Any, queue: str) -> bool:
    """Say whether a delivery is one that no worker stumbles over; else it is kept."""
    try:
        if _BROKEN in raw.properties:
            raise Unreadable(f"its properties cannot be read: {raw.properties[_BROKEN]}")
        refuse_large(len(raw.body or b""))
        raw.delivery_info = {}
        opened = pyamqp.Message(raw, channel=channel)
        _look_at_types(opened.headers)
        look_at_opened(opened)
    except Exception as trouble:  # noqa: BLE001 - whatever a decoder raises would end the worker
        told = raw.properties
        found = Found(
            queue=queue,
            body=as_bytes(raw.body),
            content_type=told.get("content_type"),
            content_encoding=told.get("content_encoding"),
            headers=told.get("application_headers"),
        )
        keep(found, why(trouble, read=True))
        return False
    return True


def _look_at_types(headers: Any) -> None:
    """Make sure of what JSON gives on its own: names are texts, values are plain.

    :raises Unreadable: if one is not
    """
    level = [headers]
    while level:
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                if not all(isinstance(name, str) for name in each):
                    raise Unreadable("the name of a header is no text")
                inner += each.values()
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, bytes | bytearray | memoryview):
                raise Unreadable("a header is no text")
        level = inner


class Connection(pyamqp.Connection):
    """kombu's, with that channel."""

    Channel = Channel


class Transport(pyamqp.Transport):
    """kombu's, with that connection."""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):
    """kombu's, with that connection."""

    Connection = Connection
