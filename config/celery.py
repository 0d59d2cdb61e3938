"""The Celery application: `celery -A config` finds it here, `config.apps` loads it for Django."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_prerun

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

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
