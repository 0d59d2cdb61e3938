"""Ticks that go on slice by slice: of several at once one does, the others leave their worker free.

As everywhere, Redis may be wrong about who is at it, and then two do the same work.
"""

import logging
from typing import Final

import redis

from sagas.ids import uuid7
from sagas.orchestration.donekeys import client

log = logging.getLogger(__name__)


# Two that are at it, since Redis was wrong, would each let a third begin in the other's place.
_IF_IT_IS_OURS: Final = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""


def begins_alone(key: str, life_ms: int) -> str | None:
    """Return a token if nobody else is at it, who is said to be for so long or until the end."""
    token = str(uuid7())
    try:
        return token if client().set(key, token, nx=True, px=life_ms) else None
    except redis.RedisError as error:
        log.warning("alone_unasked", extra={"key": key, "error": str(error)})
        return token


def lets_others(key: str, token: str) -> None:
    """Let the next one begin, unless it is another's by now."""
    try:
        client().eval(_IF_IT_IS_OURS, 1, key, token)
    except redis.RedisError as error:
        log.warning("alone_unsaid", extra={"key": key, "error": str(error)})
