"""No message ends a worker, whatever is wrong with it."""

import pytest
import redis
from celery import current_app
from django.conf import settings

from config.chaos.injections.messages import NOBODY, PREFIX, message
from tests.processes import eventually
from tests.rubbish import DROPPED, LEFT_TO_CELERY
from tests.rubbish_on_rabbitmq import REFUSED, TAKEN, publish

ON_RABBITMQ = settings.CELERY_BROKER_URL.startswith("amqp")


@pytest.mark.timeout(90)
@pytest.mark.skipif(ON_RABBITMQ, reason="another broker")
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


@pytest.mark.timeout(90)
@pytest.mark.skipif(not ON_RABBITMQ, reason="CELERY_BROKER_URL names no RabbitMQ")
def test_no_message_on_rabbitmq_ends_a_worker(processes):
    worker = processes.worker()
    with current_app.connection_for_write() as connection:
        for rubbish in {**REFUSED, **TAKEN}.values():
            publish(connection, rubbish, "steps")
        last = current_app.signature("sagas.no_such_task", args=[NOBODY], queue="steps")
        last.apply_async(connection=connection)

    eventually(lambda: "sagas.no_such_task" in worker.output() or None, 30, "it has read them all")
    assert worker.alive
    assert worker.output().count("message_unreadable") == len(REFUSED)
    assert "Unrecoverable" not in worker.output()
