"""Done-keys in Redis: a fast answer to messages that come again.

Redis may say only "done", and only after the commit said so. A miss, an error or an empty Redis
means "look at the row"; a false key would cost the sweeper's interval and nothing else, because
messages from the sweeper do not ask here.

A saga's steps are done one after the other, so one key a direction holds them all: its value is
the number of the furthest one. A late writer may set it back, which is a miss and no more.
"""

import logging
import re
from functools import cache
from uuid import UUID

import redis
from celery import current_app
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.failpoints import failpoint

log = logging.getLogger(__name__)

NUMBER = re.compile(rb"-?[0-9]{1,9}")
NEARBY = "redis://127.0.0.1:6379/0"


@cache
def client() -> redis.Redis:
    """Return the connection to Redis for keys, with short time-outs and no silent resends."""
    return redis.Redis.from_url(
        keys_address(),
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=10,
    )


def keys_address() -> str:
    """Return where the keys are: a setting of its own, else the broker if that is a Redis."""
    chosen: str | None = getattr(settings, "REDIS_URL", None)
    broker = str(current_app.conf.broker_url or "")
    return chosen or (broker if broker.startswith(("redis://", "rediss://")) else NEARBY)


def _key(saga_id: UUID, direction: Direction) -> str:
    return f"sagas:done:{saga_id}:{direction}"


def all_done(
    saga_id: UUID, low: int, high: int, direction: Direction, *, answered: str | None = None
) -> bool:
    """Return whether Redis remembers every step of a link as done.

    :param answered: the key of a wake-up, removed by the same call
    """
    try:
        if answered is None:
            found = client().get(_key(saga_id, direction))
        else:
            both = client().pipeline(transaction=False)
            both.delete(answered)
            both.get(_key(saga_id, direction))
            found = both.execute()[1]
    except redis.RedisError as error:
        log.warning("donekeys_unread", extra={"error": str(error)})
        return False
    if not (isinstance(found, bytes) and NUMBER.fullmatch(found)):
        return False
    furthest = int(found)
    return furthest >= high if direction is Direction.DO else furthest <= low


def remember(saga_id: UUID, low: int, high: int, direction: Direction) -> None:
    """Tell Redis, after the commit, that the steps of a link are done."""
    failpoint("donekeys.before")
    furthest = high if direction is Direction.DO else low
    try:
        client().set(_key(saga_id, direction), furthest, ex=int(conf.DONE_KEY_SECONDS))
    except redis.RedisError as error:
        log.warning("donekeys_unwritten", extra={"error": str(error)})
