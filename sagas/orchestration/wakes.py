"""Wake-ups: one unread message is enough for all sagas that wait in front of the same link.

# Note [One message for many]
A Celery message costs many times a durable commit. So whoever wants to ring for a fresh saga
first sets a key in Redis, and rings only if it was not there; whoever takes the message up
removes the key *before* it looks for sagas, and then claims several at once. A commit that came
before somebody found the key set is therefore seen by the claim that follows its removal.

As everywhere, Redis may be wrong: a key that says too much (its message was lost) lives for a
second, and the sweeper finds the rows; a key that says too little costs a message too many. One
that does not end, since the clock of Redis was set back or it is no key of ours, is removed by the
sweeper when it gives a second hint for a saga that nobody has tried.
"""

import logging
from dataclasses import dataclass
from time import monotonic

import redis

from sagas.core.keys import Direction
from sagas.orchestration.donekeys import client

log = logging.getLogger(__name__)

LIFE_MS = 1000
PAUSE = 5.0
"""Seconds for which Redis is not asked after it has not answered: everybody rings meanwhile."""


class Silence:
    """Spares callers a Redis that hangs."""

    def __init__(self, event: str) -> None:
        """Take what the log is to say of it."""
        self.event = event
        self.until = 0.0

    def begin(self, error: redis.RedisError) -> None:
        """Ask nothing for a while."""
        self.until = monotonic() + PAUSE
        log.warning(self.event, extra={"error": str(error)})

    def lasts(self) -> bool:
        """Return whether Redis is not to be asked."""
        return monotonic() < self.until


_silence = Silence("wake_unheard")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wake:
    """Sagas of one definition that stand in front of one link."""

    name: str
    version: int
    direction: Direction
    low: int
    high: int

    @property
    def first(self) -> int:
        """Return the step in front of which they stand."""
        return self.low if self.direction is Direction.DO else self.high

    @property
    def of(self) -> str:
        """Return the definition as a message carries it."""
        return f"{self.name}/{self.version}"

    @property
    def key(self) -> str:
        """Return the key that says that a message for them is under way."""
        return f"sagas:wake:{self.of}:{self.direction}:{self.low}-{self.high}"


def read(of: str, direction: Direction, low: int, high: int) -> Wake:
    """Read the definition out of a message."""
    name, _, version = of.rpartition("/")
    return Wake(name=name, version=int(version), direction=direction, low=low, high=high)


def is_first(wake: Wake) -> bool:
    """Return whether a message has to be sent, since none is known to be under way."""
    if _silence.lasts():
        return True
    try:
        return bool(client().set(wake.key, "1", nx=True, px=LIFE_MS))
    except redis.RedisError as error:
        _silence.begin(error)
        return True


def take_back(wake: Wake) -> None:
    """Let the next one ring: the message could not be sent, or does not come."""
    if _silence.lasts():
        return
    try:
        client().delete(wake.key)
    except redis.RedisError as error:
        _silence.begin(error)
