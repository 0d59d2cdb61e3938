"""What a worker's connections to PostgreSQL do over many tasks and over a restart of the server."""

from django.db import connection
from django_celery_results.models import TaskResult

from config.celery import app
from tests.processes import eventually


def asked(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def backends():
    """The sessions on the test database other than this one."""
    return {
        pid
        for (pid,) in asked(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    }


def send(count):
    for _ in range(count):
        app.send_task("sagas.sweep", queue="ticks")


def queue_is_empty():
    with app.connection_for_read() as broker:
        return broker.default_channel.client.llen("ticks") == 0


def test_a_connection_outlives_its_task(processes):
    processes.worker(concurrency=1)
    send(5)
    eventually(queue_is_empty, 20, "the first tasks are taken")
    before = eventually(backends, 10, "the worker has connected")

    send(30)
    eventually(queue_is_empty, 20, "all tasks are taken")

    assert backends() == before


def test_a_worker_goes_on_when_its_connections_are_cut(processes):
    processes.worker(concurrency=1)
    send(3)
    eventually(queue_is_empty, 20, "the first tasks are taken")
    before = eventually(backends, 10, "the worker has connected")

    asked(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    eventually(lambda: not backends() & before, 10, "the connections are cut")
    send(3)

    eventually(lambda: queue_is_empty() and backends(), 20, "the worker has connected again")
    assert list(TaskResult.objects.filter(status="FAILURE").values_list("result", flat=True)) == []
