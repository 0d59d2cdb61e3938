"""Redis as it may be at any moment: there, emptied, or gone."""

from contextlib import contextmanager

import pytest
from django.conf import settings

from sagas.orchestration.donekeys import client
from tests.conftest import empty_redis

NOBODY = "redis://127.0.0.1:1/0"
STATES = ("up", "emptied", "down")


@contextmanager
def redis_in(state):
    """Let requests find Redis in this state; yields what is to be done between two of them."""
    with pytest.MonkeyPatch.context() as patch:
        if state == "down":
            patch.setattr(settings, "REDIS_URL", NOBODY)
        client.cache_clear()
        yield empty_redis if state == "emptied" else lambda: None
    client.cache_clear()
