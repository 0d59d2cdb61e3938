"""What a worker's connections to PostgreSQL do over many tasks and over a restart of the server."""

import pytest
from django.db import connection
from django_celery_results.models import TaskResult

from config.celery import app
from tests.processes import eventually


def asked(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


COUNTED = "counted"
"""The name of the worker's sessions; those of an autovacuum or of an earlier test have none."""


@pytest.fixture
def worker(processes):
    return processes.worker(concurrency=1, env={"PGAPPNAME": COUNTED})


def backends():
    """The sessions of the worker on the test database."""
    return {pid for pid, _ in sessions()}


def rested():
    """The sessions of the worker, if none has asked anything for a while."""
    found = sessions()
    return None if any(is_busy for _, is_busy in found) else {pid for pid, _ in found}


def sessions():
    return asked(
        "SELECT pid, state <> 'idle' OR state_change > clock_timestamp() - interval '0.5 s'"
        " FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name = '{COUNTED}'"
    )


def send(count):
    for _ in range(count):
        app.send_task("sagas.sweep", queue="ticks")


def queue_is_empty():
    with app.connection_for_read() as broker:
        return broker.default_channel.client.llen("ticks") == 0


def test_a_connection_outlives_its_task(worker):
    send(5)
    eventually(queue_is_empty, 30, "the first tasks are taken")
    before = eventually(rested, 30, "the worker has connected")

    send(30)
    eventually(queue_is_empty, 30, "all tasks are taken")

    assert eventually(rested, 30, "all of them are done") == before


def test_a_worker_goes_on_when_its_connections_are_cut(worker):
    send(3)
    eventually(queue_is_empty, 30, "the first tasks are taken")
    before = eventually(rested, 30, "the worker is between two tasks")

    asked(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name = '{COUNTED}'"
    )
    eventually(lambda: not backends() & before, 30, "the connections are cut")
    send(3)

    eventually(lambda: queue_is_empty() and rested(), 30, "the worker has connected again")
    assert list(TaskResult.objects.filter(status="FAILURE").values_list("result", flat=True)) == []
