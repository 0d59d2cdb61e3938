"""The relay's doorbell: a commit with events wakes it at once, many commits wake it once.

Rings go by a queue of their own, and where no worker takes that queue they are of no use to
anybody. So one expires, when the ticks have long found what it tells of; and when none has been
answered for a while nobody rings any more, until a tick has found that somebody answers.
"""

import logging
from datetime import timedelta
from typing import Any, Final

import redis
from celery import current_app
from celery.canvas import Signature

from sagas.contexts import contexts
from sagas.durations import duration
from sagas.orchestration import canvas
from sagas.orchestration.donekeys import client

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


def ring(context: str) -> None:
    """Wake the relay unless somebody has just done so; best effort, beat is the guarantee."""
    try:
        with client().pipeline() as asked:
            asked.set(KEY.format(context=context), "1", nx=True, px=LIFE_MS)
            asked.set(ASKED, "1", nx=True, ex=ASKED_LIFE)
            asked.ttl(ASKED)
            is_first, _, left = asked.execute()
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
