"""No message ends a worker, whatever is wrong with it."""

import pytest
import redis
from django.conf import settings

from config.chaos.injections.messages import NOBODY, PREFIX, message
from tests.processes import eventually
from tests.rubbish import DROPPED, LEFT_TO_CELERY


@pytest.mark.timeout(90)
def test_no_message_ends_a_worker(processes):
    worker = processes.worker()
    with redis.Redis.from_url(settings.REDIS_URL.replace("db=1", "db=0")) as client:
        for rubbish in {**DROPPED, **LEFT_TO_CELERY}.values():
            client.lpush(f"{PREFIX}steps", rubbish)
        client.lpush(f"{PREFIX}steps", message("sagas.no_such_task", [NOBODY], "steps"))

    eventually(lambda: "sagas.no_such_task" in worker.output() or None, 30, "it has read them all")
    assert worker.alive
    assert worker.output().count("message_unreadable") == len(DROPPED)
    assert "Unrecoverable" not in worker.output()
