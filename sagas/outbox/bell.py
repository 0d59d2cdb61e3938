"""The relay's doorbell: a commit with events wakes it at once, many commits wake it once.

Rings go by a queue of their own, and where no worker takes that queue they are of no use to
anybody. So one expires, when the ticks have long found what it tells of; and when none has been
answered for a while nobody rings any more, until a tick has found that somebody answers.

Where events go to a stream, the same call to Redis also wakes one of the processes that wait to
bring them there (``manage.py outbox stream``), if there is one.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from random import sample
from typing import Any, Final

import redis
from celery import current_app
from celery.canvas import Signature
from redis.backoff import NoBackoff
from redis.retry import Retry

from sagas.contexts import contexts
from sagas.durations import duration
from sagas.orchestration import canvas
from sagas.orchestration.donekeys import client, keys_address
from sagas.outbox import stream

log = logging.getLogger(__name__)

KEY = "sagas:relay:bell:{context}"
LIFE_MS = 1000
FRESH: Final = "fresh"
"""The queue of rings, and of events that were committed just now."""
EXPIRY: Final = 20
"""Seconds after which a ring is worth nothing."""
ASKED: Final = "sagas:relay:asked"
"""There since the first ring that is not answered; how long is seen from how long it has left."""
ASKED_LIFE: Final = 30 * 86_400
PATIENCE: Final = 60
"""Seconds without an answer after which nobody takes the queue."""
STREAM_KEY: Final = "sagas:stream:bell:{context}"
LONGEST: Final = 1.0
"""Seconds for which a process waits for a ring before it looks all the same."""
ANSWER: Final = 2.0
"""Seconds beyond the time that was asked for in which Redis has to answer."""


def ring(context: str) -> None:
    """Wake the relay unless somebody has just done so; best effort, beat is the guarantee."""
    try:
        with client().pipeline() as asked:
            if stream.address():
                # One ring that nobody waits for is kept, and no second.
                key = STREAM_KEY.format(context=context)
                asked.lpush(key, "1")
                asked.ltrim(key, 0, 0)
            asked.set(KEY.format(context=context), "1", nx=True, px=LIFE_MS)
            asked.set(ASKED, "1", nx=True, ex=ASKED_LIFE)
            asked.ttl(ASKED)
            *_, is_first, _, left = asked.execute()
    except redis.RedisError as error:
        log.warning("bell_unheard", extra={"error": str(error)})
        return
    if is_first and _age(left) <= PATIENCE:
        _publish(context)


def _publish(context: str) -> None:
    signature = Signature(
        "sagas.relay",
        args=(context,),
        options={"queue": FRESH, "expires": EXPIRY},
        immutable=True,
        app=current_app,
    )
    if not canvas.publish(signature):
        _delete(ASKED)  # that the broker does not take it is not for want of a worker


def answer(*rung: str, came_by_ring: bool = False) -> None:
    """Take bells down before the first look, so that a later commit rings again."""
    _delete(*(KEY.format(context=context) for context in rung), *([ASKED] * came_by_ring))


def _delete(*keys: str) -> None:
    try:
        client().delete(*keys)
    except redis.RedisError as error:
        log.warning("bell_unanswered", extra={"error": str(error)})


def unanswered_for() -> int:
    """Return for how many seconds rings have gone unanswered; 0 too where Redis does not say."""
    try:
        return _age(client().ttl(ASKED))
    except redis.RedisError as error:
        log.warning("bell_unasked", extra={"error": str(error)})
        return 0


def _age(left: Any) -> int:
    return ASKED_LIFE - int(left) if int(left) >= 0 else 0


def is_heard() -> bool:
    """Return whether some worker takes the queue, as far as anybody knows."""
    return unanswered_for() <= PATIENCE


def try_again() -> None:
    """Ring where nobody has answered for long: perhaps somebody does by now."""
    # What lies there is no sign of life on Redis, where only a worker takes out what has expired.
    if not is_heard() and not canvas.depth(FRESH):
        _publish(contexts()[0])


def trouble() -> str:
    """Return that nobody takes the queue, in words, or nothing."""
    silent = unanswered_for()
    if silent <= PATIENCE:
        return ""
    return (
        f"No worker has taken anything from the queue {FRESH} for"
        f" {duration(timedelta(seconds=silent))}: events wait for a tick. Start one with"
        f" {FRESH} among its -Q."
    )


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
    # Of several that are rung for Redis takes the first: in any order, or one busy context would be
    # all that is ever heard.
    rung: Any = _waiting().blpop(sample(list(keys), len(keys)), timeout=seconds)
    return keys[rung[0].decode()] if rung else None


@cache
def _waiting() -> redis.Redis:
    return redis.Redis.from_url(
        keys_address(),
        socket_timeout=LONGEST + ANSWER,
        socket_connect_timeout=ANSWER,
        retry=Retry(NoBackoff(), 0),
    )
