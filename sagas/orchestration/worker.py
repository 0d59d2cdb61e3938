"""Which process and which task this is, for the journal."""

import os
import socket
from functools import cache

from celery import current_task


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
