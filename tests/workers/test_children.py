"""What becomes of a worker's children, and of what the parent has to say of them."""

import os
import signal

import psutil
import psycopg
from django.db import OperationalError, connection
from django_celery_results.models import TaskResult

from config.celery import app
from tests.processes import eventually, test_database_url
from tests.workers.test_database_connections import (
    queue_is_empty,
    rested,
    send,
    worker,
)

__all__ = ["worker"]


def children(worker):
    return {child.pid for child in psutil.Process(worker.pid).children()}


def test_a_soft_time_limit_that_comes_late_ends_no_child(worker):
    send(3)
    eventually(queue_is_empty, 30, "the first tasks are taken")
    before = eventually(rested, 30, "the child waits for work")
    own = children(worker)

    for child in own:
        os.kill(child, signal.SIGUSR1)
    send(3)
    eventually(queue_is_empty, 30, "the next tasks are taken")

    assert eventually(rested, 30, "it waits again") == before
    assert children(worker) == own
    assert "SoftTimeLimitExceeded" not in worker.output()


def test_what_the_parent_knows_is_stored_also_after_its_connection_was_cut(committed_db):
    app.backend.store_result("first", "lost", "FAILURE")
    pid = connection.connection.info.backend_pid
    with psycopg.connect(test_database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    eventually(lambda: not connection.is_usable(), 30, "the cut is seen")

    app.backend.store_result("second", "lost", "FAILURE")

    assert {row.task_id for row in TaskResult.objects.all()} == {"first", "second"}


def test_a_database_that_is_away_ends_no_parent(committed_db, monkeypatch, caplog):
    def away():
        raise OperationalError("connection refused")

    connection.close()
    with monkeypatch.context() as down:
        down.setattr(connection, "connect", away)
        app.backend.mark_as_revoked("tick", "expired")

    assert [record.message for record in caplog.records] == ["result_lost"]
