"""The relay's doorbell: a commit with events wakes it at once, many commits wake it once.

Where events go to a stream, the same call to Redis also wakes one of the processes that wait to
bring them there (``manage.py outbox stream``), if there is one.
"""

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import redis
from celery import current_app
from celery.canvas import Signature
from redis.backoff import NoBackoff
from redis.retry import Retry

from sagas.orchestration import canvas
from sagas.orchestration.donekeys import client, keys_address
from sagas.outbox import stream

log = logging.getLogger(__name__)

KEY = "sagas:relay:bell:{context}"
LIFE_MS = 1000
STREAM_KEY: Final = "sagas:stream:bell:{context}"
LONGEST: Final = 1.0
"""Seconds for which a process waits for a ring before it looks all the same."""
PATIENCE: Final = 2.0
"""Seconds beyond the time that was asked for in which Redis has to answer."""


def ring(context: str) -> None:
    """Wake the relay unless somebody has just done so; best effort, beat is the guarantee."""
    try:
        if not _is_first(context):
            return
    except redis.RedisError as error:
        log.warning("bell_unheard", extra={"error": str(error)})
        return
    canvas.publish(
        Signature(
            "sagas.relay",
            args=(context,),
            options={"queue": "fresh"},
            immutable=True,
            app=current_app,
        )
    )


def answer(*contexts: str) -> None:
    """Take bells down before the first look, so that a later commit rings again."""
    try:
        client().delete(*(KEY.format(context=context) for context in contexts))
    except redis.RedisError as error:
        log.warning("bell_unanswered", extra={"error": str(error)})


def _is_first(context: str) -> bool:
    with client().pipeline(transaction=False) as calls:
        if stream.address():
            # One ring that nobody waits for is kept, and no second.
            key = STREAM_KEY.format(context=context)
            calls.lpush(key, "1")
            calls.ltrim(key, 0, 0)
        calls.set(KEY.format(context=context), "1", nx=True, px=LIFE_MS)
        return bool(calls.execute()[-1])


def is_left_to_us(context: str) -> bool:
    """Return whether no process has taken the ring for the stream; it is taken by this question."""
    try:
        return client().lpop(STREAM_KEY.format(context=context)) is not None
    except redis.RedisError as error:
        log.warning("bell_unanswered", extra={"error": str(error)})
        return True


def wait_for_stream(contexts: Iterable[str], seconds: float) -> str | None:
    """Wait until a commit rings for the stream; return its context, or None after so long.

    :raises redis.RedisError: if the Redis of the keys is away
    """
    keys = {STREAM_KEY.format(context=context): context for context in contexts}
    rung: Any = _waiting().blpop(list(keys), timeout=seconds)
    return keys[rung[0].decode()] if rung else None


@cache
def _waiting() -> redis.Redis:
    return redis.Redis.from_url(
        keys_address(),
        socket_timeout=LONGEST + PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
    )
