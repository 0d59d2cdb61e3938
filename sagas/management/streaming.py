"""What ``manage.py outbox stream`` does: it waits for commits and feeds the stream."""

import logging
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable
from threading import Event
from time import monotonic
from typing import Final

import redis
from django.db import InterfaceError, OperationalError

from sagas.core.errors import SagasError
from sagas.outbox import bell, streaming
from sagas.transactions import connection_of

log = logging.getLogger(__name__)

SHORT: Final = 0.005
"""Seconds after which is looked again where somebody else is at it; doubled every time."""
PAUSE: Final = 2.0
"""Seconds for which a database that was away is left alone: it may take seconds to say so."""


class StreamNotSet(SagasError):
    """RELAY_STREAM is not set: there is no stream to feed."""


class Streaming:
    """One of any number of processes that do this."""

    def __init__(self, say: Callable[[str], object]) -> None:
        """Tell of what is done by the function that is given."""
        self.say = say
        self.stopped = Event()
        self.contexts = streaming.streamed()
        self.left = set(self.contexts)
        """Where something may wait for which nobody will ring."""
        self.pause = SHORT
        self.away_until: dict[str, float] = defaultdict(float)

    def run(self) -> None:
        """Feed the stream until SIGTERM or SIGINT; outlives database, Redis and stream.

        :raises StreamNotSet: if there is none
        """
        if not self.contexts:
            raise StreamNotSet
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopped.set())
        self.say("streaming")
        while not self.stopped.is_set():
            rung = self._wait()
            left = self._send(self.left | {rung} if rung else self.contexts)
            repeated = bool(left and self.left)
            self.pause = min(2 * self.pause, bell.LONGEST) if repeated else SHORT
            self.left = left
            if not left:
                self.pause = bell.LONGEST

    def _wait(self) -> str | None:
        """Wait for a ring, not longer than the pause; return its context."""
        try:
            return bell.wait_for_stream(self.contexts, self.pause)
        except redis.RedisError as away:
            log.warning("stream_bell_away", extra={"error": str(away)})
            self.stopped.wait(bell.LONGEST)
            return None

    def _send(self, contexts: Iterable[str]) -> set[str]:
        """Bring what waits into the stream; return the contexts to look at again."""
        return {context for context in contexts if not self._is_emptied(context)}

    def _is_emptied(self, context: str) -> bool:
        if self.away_until[context] > monotonic():
            return False
        try:
            for _ in range(streaming.MOST_BATCHES):
                sent = streaming.send_batch(context)
                if not sent or self.stopped.is_set():
                    return sent is not None
            self.pause = SHORT  # nobody else is at it, there is only much
        except (OperationalError, InterfaceError) as away:
            log.warning("stream_database_away", extra={"error": str(away).partition("\n")[0]})
            connection_of(context).close()
            self.away_until[context] = monotonic() + PAUSE
        return False
