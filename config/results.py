"""Where Celery's results are kept: django-celery-results, which no worker shall die of."""

import logging
from typing import Any

from django.db import Error, close_old_connections
from django_celery_results.backends.database import DatabaseBackend
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


class Results(DatabaseBackend):  # type: ignore[misc]  # comes without types
    """Looks at the connection before it stores, and does without the database.

    A worker's parent stores what became of a child that was lost and of a tick that has expired.
    It runs no task, so nobody else drops its connection when the server has cut it, and an error
    of the database ends its loop and with it the worker. The journal is the record, not this.

    It also rings what a failed task has in `link_error`, and an error of the broker would end it
    just so. That callback is a hint like any other: the sweeper finds the row.
    """

    def _store_result(self, task_id: str, result: Any, *args: Any, **options: Any) -> Any:
        try:
            close_old_connections()
            return super()._store_result(task_id, result, *args, **options)
        except Error as lost:
            log.warning("result_lost", extra={"key": task_id, "error": str(lost)})
            return result

    def _call_task_errbacks(self, request: Any, *error: Any) -> None:
        try:
            super()._call_task_errbacks(request, *error)
        except OperationalError as lost:
            log.warning("hint_lost", extra={"task_name": "link_error", "error": str(lost)})
