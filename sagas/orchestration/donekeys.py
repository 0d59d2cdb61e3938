"""Done-keys in Redis: a fast answer to messages that come again.

Redis may say only "done", and only after the commit said so. A miss, an error or an empty Redis
means "look at the row"; a false key would cost the sweeper's interval and nothing else, because
messages from the sweeper do not ask here.
"""

import logging
from functools import cache
from uuid import UUID

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.failpoints import failpoint

log = logging.getLogger(__name__)


@cache
def client() -> redis.Redis:
    """Return the connection to Redis for keys, with short time-outs and no silent resends."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
    )


def _keys(saga_id: UUID, low: int, high: int, direction: Direction) -> list[str]:
    return [f"sagas:done:{saga_id}:{number}:{direction}" for number in range(low, high + 1)]


def all_done(saga_id: UUID, low: int, high: int, direction: Direction) -> bool:
    """Return whether Redis remembers every step of a link as done."""
    try:
        found = client().mget(_keys(saga_id, low, high, direction))
    except redis.RedisError as error:
        log.warning("donekeys_unread", extra={"error": str(error)})
        return False
    return all(isinstance(value, bytes) for value in found)


def remember(saga_id: UUID, low: int, high: int, direction: Direction) -> None:
    """Tell Redis, after the commit, that the steps of a link are done."""
    failpoint("donekeys.before")
    try:
        pipeline = client().pipeline(transaction=False)
        for key in _keys(saga_id, low, high, direction):
            pipeline.set(key, "1", ex=int(conf.DONE_KEY_SECONDS))
        pipeline.execute()
    except redis.RedisError as error:
        log.warning("donekeys_unwritten", extra={"error": str(error)})
