"""The house itself as a Django app."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Loads Celery's app, without which `delay` would talk to a default app on no broker."""

    name = "config"

    def ready(self) -> None:
        """Load the Celery application. Not in `config/__init__`: see `config.bootstrap`."""
        from config import (
            celery,  # noqa: F401
            tracing,
        )

        tracing.begin()
