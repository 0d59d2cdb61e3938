"""The Celery application: `celery -A config` finds it here, `config.apps` loads it for Django."""

import os
import signal
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun

from config import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

broker.use()  # before the first connection asks for a transport
app = Celery("concord")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["sagas"])


@setup_logging.connect(weak=False)
def use_the_projects_log(**_: Any) -> None:
    """Do nothing; being connected makes Celery leave Django's logging configuration alone."""


@task_prerun.connect(weak=False)
def drop_dead_connections(**_: Any) -> None:
    """Close connections that are broken or too old, as Django does before a request.

    Connections outlive a task here (CELERY_DB_REUSE_MAX). Without this every later task of a
    process would fail after a restart of PostgreSQL.
    """
    from django.db import close_old_connections

    close_old_connections()


class _SoftLimit:
    """Lets the soft time limit strike only while a task runs.

    It is sent by the worker's parent and may come late, most of all after a machine was paused. A
    child that waits for work would die of it, and in the middle of handing in a result it would
    break the pipe, on which the parent ends with "Unrecoverable error".
    """

    running = False

    def strike(self, number: int, frame: Any) -> None:
        if self.running:
            soft_timeout_sighandler(number, frame)

    def begin(self, **_: Any) -> None:
        # Only a child of a prefork pool has this handler, which it sets after its own signals.
        if signal.getsignal(SIG_SOFT_TIMEOUT) is soft_timeout_sighandler:
            signal.signal(SIG_SOFT_TIMEOUT, self.strike)
        self.running = True

    def end(self, **_: Any) -> None:
        self.running = False


_soft_limit = _SoftLimit()
task_prerun.connect(_soft_limit.begin, weak=False)
task_postrun.connect(_soft_limit.end, weak=False)
