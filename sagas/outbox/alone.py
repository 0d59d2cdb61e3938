"""Ticks that go on slice by slice: of several at once one does, the others leave their worker free.

As everywhere, Redis may be wrong about who is at it, and then two do the same work.
"""

import logging

import redis

from sagas.orchestration.donekeys import client

log = logging.getLogger(__name__)


def begins_alone(key: str, life_ms: int) -> bool:
    """Return whether nobody else is at it, who is said to be for so long or until the end."""
    try:
        return bool(client().set(key, "1", nx=True, px=life_ms))
    except redis.RedisError as error:
        log.warning("alone_unasked", extra={"key": key, "error": str(error)})
        return True


def lets_others(key: str) -> None:
    """Let the next one begin."""
    try:
        client().delete(key)
    except redis.RedisError as error:
        log.warning("alone_unsaid", extra={"key": key, "error": str(error)})
