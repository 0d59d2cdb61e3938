"""No message ends a worker, whatever is wrong with it."""

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.models import Sum

from config.chaos.injections.messages import NOBODY, PREFIX, message
from sagas.models import UnreadableMessage
from tests.processes import eventually
from tests.rubbish import DROPPED, LEFT_TO_CELERY
from tests.rubbish_on_rabbitmq import REFUSED, TAKEN, publish


def kept_in_all():
    return UnreadableMessage.objects.aggregate(all=Sum("times"))["all"] or 0


def is_kept(task):
    return UnreadableMessage.objects.filter(reason__contains=task).exists()


def every_kept_one_is_said(worker):
    """The line follows the row, so for a moment there is one row more than lines."""
    return worker.output().count("message_unreadable") == kept_in_all()


def put(*messages, queue="steps"):
    with redis.Redis.from_url(settings.REDIS_URL.replace("db=1", "db=0")) as client:
        client.lpush(f"{PREFIX}{queue}", *messages)


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
    rubbish = {**DROPPED, **LEFT_TO_CELERY}
    eventually(lambda: is_kept("sagas.no_such_task"), 30, "the last of them is kept")
    eventually(lambda: every_kept_one_is_said(worker), 30, "each is said")
    assert len(DROPPED) + 1 <= kept_in_all() <= len(rubbish) + 1
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
    eventually(lambda: is_kept("sagas.no_such_task"), 30, "the last of them is kept")
    eventually(lambda: every_kept_one_is_said(worker), 30, "each is said")
    assert kept_in_all() >= len(REFUSED) + 1
    assert "Unrecoverable" not in worker.output()


WRONG_ARGUMENTS = [
    message("sagas.deliver", ["nobody", "billing", [NOBODY]], "steps"),
    message("sagas.deliver", ["orders", "billing", ["no id"]], "steps"),
    message("sagas.continue_saga", ["not a uuid", 1, 2], "steps"),
    message("sagas.relay", ["nobody"], "steps"),
]


@pytest.mark.timeout(90)
@pytest.mark.skipif(ON_RABBITMQ, reason="another broker")
def test_what_a_task_can_do_nothing_with_is_kept_and_no_task_fails(processes):
    worker = processes.worker()
    put(*WRONG_ARGUMENTS)

    eventually(lambda: kept_in_all() == len(WRONG_ARGUMENTS), 30, "they are kept")
    assert worker.alive
    assert "Traceback" not in worker.output()


@pytest.mark.timeout(120)
@pytest.mark.skipif(ON_RABBITMQ, reason="another broker")
def test_two_workers_keep_a_flood_of_the_same_rubbish_as_one_row(processes):
    workers = [processes.worker(), processes.worker()]
    put(*[b"{not json at all"] * 1000)

    eventually(lambda: kept_in_all() == 1000, 60, "all are counted")
    assert UnreadableMessage.objects.count() == 1
    assert all(worker.alive for worker in workers)


@pytest.mark.timeout(90)
@pytest.mark.skipif(ON_RABBITMQ, reason="another broker")
@pytest.mark.parametrize(
    ("place", "rows"), [("unreadable.found", 0), ("unreadable.kept", 1)], ids=["before", "after"]
)
def test_a_parent_killed_beside_the_write_has_lost_the_message_or_kept_it(processes, place, rows):
    worker = processes.worker(failpoints=f"{place}=kill:1")
    put(b"{not json at all")

    eventually(lambda: not worker.alive, 30, "the parent is killed")
    assert UnreadableMessage.objects.count() == rows
    processes.worker()
    put(b"[1, 2]")
    eventually(lambda: kept_in_all() == rows + 1, 30, "the next one is kept")


@pytest.mark.timeout(90)
@pytest.mark.skipif(ON_RABBITMQ, reason="another broker")
def test_a_worker_whose_table_is_away_logs_and_goes_on(processes):
    worker = processes.worker()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sagas_unreadable RENAME TO sagas_elsewhere")
    try:
        put(b"{not json at all", b"[1, 2]")
        eventually(lambda: worker.output().count("message_unreadable") == 2, 30, "both are logged")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE sagas_elsewhere RENAME TO sagas_unreadable")
    put(message("sagas.no_such_task", [NOBODY], "steps"))
    eventually(lambda: "sagas.no_such_task" in worker.output() or None, 30, "it reads on")
    assert worker.alive
