"""What the other libraries publish through: an entry in a Redis stream for each event.

It runs in their environment, so it knows nothing of the project. Both libraries leave the broker
to their user; this is the least that one can be.
"""

import functools
import json
import os
from typing import Any, Final

import redis

STREAM: Final = "bench-peer-events"


@functools.cache
def client() -> redis.Redis:
    """Return the connection of this process, which is kept."""
    return redis.Redis.from_url(os.environ["REDIS_URL"])


def append(event_id: str, text: str) -> None:
    """Write one event; the function that django-jaiminho keeps and calls later."""
    client().xadd(STREAM, {"id": event_id, "payload": text})


class Connection:
    """Stands where django-outbox-pattern expects a connection of STOMP."""

    def __init__(self, **_: Any) -> None:
        """Take no notice of addresses."""

    def is_connected(self) -> bool:
        """Answer that nothing has to be opened: the connection is kept."""
        return True

    def disconnect(self) -> None:
        """Keep the connection."""

    def send(self, body: str, **_: Any) -> None:
        """Write one event."""
        told = json.loads(body)
        append(told["id"], told["text"])
