"""A transport for Redis that outlives messages which nobody can read.

kombu decodes a message in the worker's main loop, where what cannot be decoded ends the worker
with all its children; the next one is given the next such message.
"""

import logging
from queue import Empty
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis

log = logging.getLogger(__name__)

_KOMBUS: Final = "kombu.transport.redis:Transport"
_OURS: Final = "config.broker:Transport"


class Channel(redis.Channel):
    """Drops what is no JSON. It has left the queue already."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # untyped
        except ValueError as unreadable:
            log.warning("message_unreadable", extra={"error": str(unreadable)})
            raise Empty from None


class Transport(redis.Transport):
    """Drops what is JSON and no message."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        if not _is_message(message):
            log.warning("message_unreadable", extra={"error": f"no message, in queue {queue}"})
            return
        super()._deliver(message, queue)


def _is_message(message: Any) -> bool:
    """Say whether there is what kombu takes for granted."""
    if not isinstance(message, dict) or not isinstance(message.get("headers"), dict):
        return False
    properties = message.get("properties")
    return (
        isinstance(properties, dict)
        and isinstance(properties.get("delivery_tag"), str)
        and isinstance(properties.get("delivery_info"), dict)
    )


def use() -> None:
    """Have every address of a Redis or a Valkey lead to this transport."""
    for name, transport in TRANSPORT_ALIASES.items():
        if transport == _KOMBUS:
            TRANSPORT_ALIASES[name] = _OURS
