"""A foreign reader of a stream."""

import threading
import time
from typing import Any
from uuid import UUID

import redis
from django.conf import settings


class Reader(threading.Thread):
    """Reads the stream as a foreign reader does, and notes when each event came."""

    def __init__(self, stream: str) -> None:
        """Begin with an empty stream."""
        super().__init__(daemon=True)
        self.stream = stream
        self.client = redis.Redis.from_url(settings.REDIS_URL)
        self.client.delete(stream)
        self.seen: dict[UUID, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        """Read until it is over."""
        last: Any = "0"
        while not self.over.is_set():
            found: Any = self.client.xread({self.stream: last}, block=200)
            now = time.time()
            for last, fields in found[0][1] if found else ():  # noqa: B007 - the last one is kept
                self.seen.setdefault(UUID(fields[b"id"].decode()), now)

    def close(self) -> None:
        """Read no more."""
        self.over.set()
        self.join()
        self.client.close()
