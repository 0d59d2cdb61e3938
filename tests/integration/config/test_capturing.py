"""Listening to what is published: a chaos run sends it again."""

import redis
from django.conf import settings

from config.chaos.injections.messages import PREFIX, _capture

QUIET = 0.5


def listener():
    """Like that of a run, which hangs up after a quiet while unless it is told not to."""
    address = settings.REDIS_URL.replace("db=1", "db=0")
    return redis.Redis.from_url(address, socket_timeout=QUIET, retry=None)


def test_a_quiet_broker_is_listened_to_until_the_time_is_up():
    with listener() as client:
        assert _capture(client, 5 * QUIET) == []


def test_nothing_but_what_goes_to_a_queue_is_captured():
    with listener() as client, redis.Redis.from_url(settings.REDIS_URL) as other:
        other.set(f"{PREFIX}no-queue", "1", px=1000)
        assert _capture(client, 3 * QUIET) == []
