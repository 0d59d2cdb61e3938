"""The same messages as AMQP carries them, and those that only AMQP can carry."""

import base64
import json
from datetime import UTC, datetime

import amqp

from tests.rubbish import DROPPED, LEFT_TO_CELERY, altered


class Retyped(amqp.Message):
    """Two of its headers are of types that py-amqp reads, and never writes with such values."""

    def _serialize_properties(self):
        written = super()._serialize_properties()
        return written.replace(b"\x04whenL", b"\x04whenT").replace(b"\x04deepS", b"\x04deepA")


def arrays(levels):
    """Return as many arrays in one another as AMQP carries them."""
    found = b""
    for _ in range(levels):
        found = b"A" + len(found).to_bytes(4) + found
    return found


def carried(text, **properties):
    """Return a message of a Redis as AMQP carries it; ``properties`` replace its own."""
    made = json.loads(text)
    body = base64.b64decode(made["body"])
    of_task = made["properties"]
    own = {
        "content_type": made["content-type"],
        "content_encoding": made["content-encoding"],
        "application_headers": made["headers"],
        "correlation_id": of_task.get("correlation_id"),
        "delivery_mode": 2,
    }
    return Retyped(body, **{**own, **properties})


def with_headers(odd=None, **headers):
    made = {**json.loads(altered())["headers"], **headers, **(odd or {})}
    return carried(altered(), application_headers=made)


# What is wrong with these lies in how Redis carries them, or is set right by AMQP itself.
ONLY_ON_REDIS = {
    "nested",
    "hook number",
    "hook text",
    "hook decimal",
    "hook unhashable",
    "routing",
    "reply to",
    "tag empty",
    "body encoding",
    "body encoding list",
    "raw body number",
    "raw body null",
    "content type number",
    "content encoding number",
    "timelimit endless",  # the server closes the connection of whoever sends it
}
REFUSED = {
    **{name: carried(text) for name, text in DROPPED.items() if name not in ONLY_ON_REDIS},
    "nested body": amqp.Message(
        b"[" * 200_000, content_type="application/json", content_encoding="utf-8"
    ),
    "hook": amqp.Message(
        b'{"__type__": "bytes", "__value__": 5}',
        content_type="application/json",
        content_encoding="utf-8",
    ),
    "content type no text": carried(altered(), content_type=b"\xff\xfe"),
    "correlation no text": carried(altered(), correlation_id=b"\xff\xfe"),
    "reply to no text": carried(altered(), reply_to=b"\xff"),
    "header time": with_headers(when=2**60),
    "header nested beyond recursion": with_headers(deep=arrays(3000)),
    "header no text": with_headers(more=b"\xff\xfe"),
    "header name no text": with_headers({b"caf\xe9": "x"}),
    "task no text": with_headers(task=b"\xff"),
    "task number": with_headers(task=5),
    "id time": with_headers(id=datetime(2026, 1, 1, tzinfo=UTC)),
    "args no text": with_headers(argsrepr=b"\xff"),
    "no content type": carried(altered(), content_type=None),
}
TAKEN = {
    **{name: carried(text) for name, text in LEFT_TO_CELERY.items()},
    "header name with half a surrogate": with_headers({"caf\udce9": "x"}),
    "header time that can be read": with_headers(more=datetime(2026, 1, 1, tzinfo=UTC)),
    "no properties": amqp.Message(b"{}"),
    "no body": amqp.Message(b"", content_type="application/json", content_encoding="utf-8"),
}


def publish(connection, message, queue):
    connection.default_channel.basic_publish(message, exchange="", routing_key=queue)
