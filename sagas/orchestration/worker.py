"""Which process and which task this is, for the journal, and how long it may go on."""

import os
import socket
from functools import cache
from time import monotonic

from celery import current_task

from sagas.conf import conf


@cache
def _host() -> str:
    return socket.gethostname()


def worker_name() -> str:
    """Return host and process, the way an operator finds it."""
    return f"{_host()}:{os.getpid()}"


def task_id() -> str:
    """Return the id of the running Celery task, or nothing outside one."""
    request = getattr(current_task, "request", None)
    return str(getattr(request, "id", None) or "")


def is_spent(started: float) -> bool:
    """Return whether who began then has to let others have the worker."""
    slice_ = min(conf.TIME_SLICE, conf.STEP_TIMEOUT - conf.CALL_TIMEOUT)
    return monotonic() - started > slice_
