"""Django's view of the engine."""

from typing import Any

from celery.signals import task_rejected, task_unknown, worker_init
from django.apps import AppConfig
from django.db.models.signals import post_migrate  # noqa: TID251 - of `migrate`, not of rows


class SagasConfig(AppConfig):
    """Finds the sagas, steps and handlers of every context when Django is ready."""

    name = "sagas"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Discover definitions, refuse what could not be carried out, register the checks."""
        from sagas import append_only, checks, unreadable  # noqa: F401 - need the app registry
        from sagas.choreography import beginning
        from sagas.choreography import checks as of_flows  # noqa: F401
        from sagas.orchestration import registry
        from sagas.outbox import checks as of_events  # noqa: F401

        registry.discover()
        post_migrate.connect(append_only.guard_histories, dispatch_uid="sagas.append_only")
        post_migrate.connect(beginning.begin_migrated, dispatch_uid="sagas.flows")
        worker_init.connect(refuse_unfit_worker, dispatch_uid="sagas.unfit")
        task_unknown.connect(unreadable.keep_unknown_task, dispatch_uid="sagas.unknown_task")
        task_rejected.connect(unreadable.keep_rejected, dispatch_uid="sagas.rejected")


def refuse_unfit_worker(**_: Any) -> None:
    """Let no worker start where sagas live that it could not carry out.

    Celery runs Django's checks and ignores what they say, and it swallows what a receiver raises,
    unless that ends the process.
    """
    from sagas.orchestration import versions

    try:
        versions.refuse_unfit()
    except versions.UnfitDefinition as unfit:
        raise SystemExit(f"not started:\n{unfit}") from unfit
