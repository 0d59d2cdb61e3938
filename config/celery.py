"""The Celery application: `celery -A config` finds it here, `config.apps` loads it for Django."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun, worker_ready

from sagas import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

log = logging.getLogger(__name__)

SPARE: Final = 5.0
"""Seconds that a stop may take beyond the soft shutdown and the longest task."""

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


class BoundedStop:
    """Ends a worker that does not end although it was told to.

    Celery stops the pool inside its signal handler, and was seen to wait there for ever for a
    child that had nothing to do. The children end by themselves when their parent is gone.
    """

    def __init__(self, end: Callable[[], None], seconds: Callable[[], float]) -> None:
        """Take what ends the process, and after how long."""
        self.end = end
        self.seconds = seconds
        self.theirs: Any = None

    def install(self, **_: Any) -> None:
        """Put itself before Celery's own handler, once."""
        found = signal.getsignal(signal.SIGTERM)
        if self.theirs is None and callable(found):
            self.theirs = found
            signal.signal(signal.SIGTERM, self.strike)

    def strike(self, number: int, frame: Any) -> None:
        """Start the clock, and let Celery do what it does."""
        clock = threading.Timer(self.seconds(), self.end)
        clock.daemon = True
        clock.start()
        self.theirs(number, frame)


def longest_stop() -> float:
    """Return the seconds within which a worker has stopped, if it ever does."""
    return float(app.conf.worker_soft_shutdown_timeout + app.conf.task_time_limit + SPARE)


def leave_at_once() -> None:
    """End this process without another look at anything; nothing of a saga is lost by it."""
    log.error("stop_overdue")
    os._exit(1)


_soft_limit = _SoftLimit()
_bounded_stop = BoundedStop(leave_at_once, longest_stop)
worker_ready.connect(_bounded_stop.install, weak=False)
task_prerun.connect(_soft_limit.begin, weak=False)
task_postrun.connect(_soft_limit.end, weak=False)
