"""A transport for Redis that outlives messages which nobody can read.

kombu and Celery take a message apart in the worker's main loop, where a surprise ends the worker
with all its children; the next one is given the next such message. So a message is looked at as
it comes out of Redis, before either of them has it. What nobody can read has left its queue by
then; it is kept for a person (``sagas.unreadable``), unless this process is killed in between.
For RabbitMQ there is ``sagas.rabbitmq``, which looks at the same things.
"""

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any, Final

from celery import current_app
from kombu.message import Message
from kombu.serialization import prepare_accept_content
from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import ConnectionError as ConnectionLost

from sagas.conf import conf
from sagas.error_texts import text_of
from sagas.unreadable import Found, as_bytes, keep

_OURS: Final = {
    "kombu.transport.redis:Transport": "sagas.broker:Transport",
    "kombu.transport.pyamqp:Transport": "sagas.rabbitmq:Transport",
    "kombu.transport.pyamqp:SSLTransport": "sagas.rabbitmq:SSLTransport",
}
_JSON: Final = "application/json"
_AS_IT_IS: Final = ("application/data", "application/text")
_DEEPEST: Final = 100
"""Levels of lists and objects. What is put on its way to a child is walked through again."""
_LONGEST: Final = 255
_SECONDS: Final = 10**9


def use() -> None:
    """Have every address of a Redis, a Valkey or a RabbitMQ lead to such a transport."""
    for name, transport in TRANSPORT_ALIASES.items():
        TRANSPORT_ALIASES[name] = _OURS.get(transport, transport)


class Unreadable(Exception):
    """Nobody can do anything with a message."""


class Channel(redis.Channel):
    """Hands on what can be read, and keeps what cannot for a person."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        if asynchronous:
            return self._made(asynchronous=True)
        # kombu makes one for each command, which takes longer than the command. It has no state:
        # its connections are the pool's, and a pool that was closed is followed by another.
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = self._made(asynchronous=False)
        return self._kept

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's
        # Whoever is closed after its connection was given up, since the server was away, asks
        # nobody for the address; kombu's own error for that ends the worker.
        if getattr(self.connection, "client", None) is None:
            raise ConnectionLost("its connection is closed")
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]  # untyped

    def _made(self, *, asynchronous: bool) -> Any:
        client = super()._create_client(asynchronous)  # type: ignore[misc]  # untyped
        theirs = client.response_callbacks["BRPOP"]

        def popped(response: Any, **options: Any) -> Any:
            found = theirs(response, **options)
            # Without an item kombu goes on as if nothing had come.
            return found if found and _is_readable(found[1], self._queue_of(found[0])) else None

        client.set_response_callback("BRPOP", popped)
        return client

    def _queue_of(self, key: bytes | str) -> str:
        """Return the queue that a list in Redis is, or is the part with a priority of."""
        name = str(key) if isinstance(key, str) else key.decode(errors="backslashreplace")
        queue: str = name.rsplit(self.sep, 1)[0]
        return queue.removeprefix(getattr(self, "global_keyprefix", "") or "")

    def _handle_message(self, client: Any, response: Any) -> dict[str, Any]:
        told: dict[str, Any] = super()._handle_message(client, response)  # type: ignore[misc]  # untyped
        if isinstance(told["data"], bytes | str):
            queue = str(bytes_to_str(told["channel"]))
            if not _is_readable(told["data"], queue):
                told["data"] = None
        return told


class Transport(redis.Transport):
    """kombu's, with that channel."""

    Channel = Channel


class _Opener:
    """What a message wants of its channel to be opened."""

    codecs = redis.Channel.codecs
    decode_body = redis.Channel.decode_body


def _is_readable(text: bytes | str, queue: str) -> bool:
    message = None
    try:
        refuse_large(len(text))
        message = loads(text)
        _look_at(message)
    except Exception as trouble:  # noqa: BLE001 - whatever a decoder raises would end the worker
        keep(_found(text, message, queue), why(trouble, read=message is not None))
        return False
    return True


def why(trouble: Exception, *, read: bool) -> str:
    """Return in words why a message cannot be read."""
    if isinstance(trouble, Unreadable):
        return str(trouble)
    what = "its content" if read else "it"
    return f"{what} is no JSON that can be read: {text_of(trouble)}"


def refuse_large(size: int) -> None:
    """Look at the size of a message before anybody reads it.

    :raises Unreadable: if it is too large
    """
    if size > int(conf.MESSAGE_BYTES):
        raise Unreadable(f"it is too large: more than {int(conf.MESSAGE_BYTES)} bytes")


def _found(text: bytes | str, message: Any, queue: str) -> Found:
    """Return what came out of Redis, all of it; equal contents are one, whatever their ids."""
    whole = as_bytes(text)
    if not isinstance(message, dict):
        return Found(queue=queue, body=whole)
    return Found(
        queue=queue,
        body=whole,
        content_type=message.get("content-type"),
        content_encoding=message.get("content-encoding"),
        headers=message.get("headers"),
        alike=_content(message.get("body")),
    )


def _content(body: Any) -> bytes | None:
    try:
        return base64.b64decode(body) if isinstance(body, str) else None
    except (binascii.Error, ValueError):
        return None


def _look_at(message: Any) -> None:
    """Compare a message with what is taken for granted of it.

    :raises Unreadable: if anything is different; what its decoders raise comes through
    """
    if not _is_shallow(message):
        raise Unreadable(f"it is nested more than {_DEEPEST} levels deep")
    _compare(_MESSAGE, message)
    _compare(_PROPERTIES, message["properties"])
    _compare(_DELIVERY, message["properties"]["delivery_info"])
    look_at_opened(virtual.Message(message, channel=_Opener()))  # type: ignore[arg-type]  # all it asks


def look_at_opened(opened: Message) -> None:
    """Compare what a message holds with what is taken for granted of it.

    :raises Unreadable: if anything is different; what its decoders raise comes through
    """
    if opened.errors:
        trouble = opened.errors[0][1]
        raise Unreadable(f"it cannot be unpacked: {text_of(trouble)}")
    _refuse_encoding(opened.content_type)
    payload = opened.decode() if opened.content_type == _JSON else None
    if not (_is_shallow(payload) and _is_shallow(opened.headers)):
        raise Unreadable(f"it is nested more than {_DEEPEST} levels deep")
    if "task" in opened.headers:
        if not opened.content_type or opened.content_type in _AS_IT_IS:
            # Handed on as it is, and unpacked as arguments.
            raise Unreadable("its content is not encoded")
        _compare(_TASK, opened.headers)
        if opened.content_type == _JSON:
            _compare_payload(payload)
    elif isinstance(payload, dict) and "task" in payload:
        raise Unreadable("it is a task of protocol 1, which Celery has given up")


def _refuse_encoding(content_type: str | None) -> None:
    accepted = prepare_accept_content(current_app.conf.accept_content) or ()
    if content_type and content_type not in (*_AS_IT_IS, *accepted):
        raise Unreadable(f"it is encoded as {content_type}, which is not accepted")


def _compare(expected: dict[str, Callable[[Any], bool]], found: Any) -> None:
    for name, is_right in expected.items():
        if not is_right(found.get(name) if isinstance(found, dict) else None):
            raise Unreadable(f"its {name} is missing, or of a wrong kind")


def _compare_payload(payload: Any) -> None:
    kinds = [type(part) for part in payload] if isinstance(payload, list) else []
    if kinds != [list, dict, dict]:
        raise Unreadable("its content is not the arguments of a task")


def _is_shallow(found: Any) -> bool:
    level = [found]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, list | dict)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return True
    return False


def _is(*kinds: type | None) -> Callable[[Any], bool]:
    given = tuple(kind for kind in kinds if kind is not None)

    def is_right(found: Any) -> bool:
        return (found is None and None in kinds) or isinstance(found, given)

    return is_right


def _is_name(found: Any) -> bool:
    """Say whether a text may stand in a log and in a table of results."""
    return isinstance(found, str) and 0 < len(found) <= _LONGEST and found.isprintable()


def _is_name_or_nothing(found: Any) -> bool:
    return found is None or _is_name(found)


def _is_limit(found: Any) -> bool:
    if found is None:
        return True
    return isinstance(found, list) and len(found) == 2 and all(map(_is_duration, found))


def _is_duration(found: Any) -> bool:
    if not isinstance(found, int | float):
        return found is None
    return math.isfinite(found) and 0 <= found <= _SECONDS


_MESSAGE: Final = {
    "headers": _is(dict),
    "properties": _is(dict),
    "body": _is(str),
    "content-type": _is(str),
    "content-encoding": _is(str),
}
_PROPERTIES: Final = {
    "delivery_tag": _is_name,
    "delivery_info": _is(dict),
    "body_encoding": _is(str, None),
    "reply_to": _is(str, None),
    "correlation_id": _is(str, None),
    "priority": _is(int, None),
}
_DELIVERY: Final = {"exchange": _is(str), "routing_key": _is(str)}
_TASK: Final = {
    "task": _is_name,
    "id": _is_name,
    "root_id": _is_name_or_nothing,
    "parent_id": _is_name_or_nothing,
    "group": _is_name_or_nothing,
    "shadow": _is(str, None),
    "eta": _is(str, None),
    "expires": _is(str, None),
    "retries": _is(int, None),
    "timelimit": _is_limit,
    "argsrepr": _is(str, None),
    "kwargsrepr": _is(str, None),
    "stamps": _is(dict, None),
    "stamped_headers": _is(list, None),
}
