"""The relay's doorbell: a commit with events wakes it at once, many commits wake it once."""

import logging

import redis
from celery import current_app
from celery.canvas import Signature

from sagas.orchestration import canvas
from sagas.orchestration.donekeys import client

log = logging.getLogger(__name__)

KEY = "sagas:relay:bell:{context}"
LIFE_MS = 1000


def ring(context: str) -> None:
    """Wake the relay unless somebody has just done so; best effort, beat is the guarantee."""
    try:
        if not client().set(KEY.format(context=context), "1", nx=True, px=LIFE_MS):
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
