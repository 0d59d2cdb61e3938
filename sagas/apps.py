"""Django's view of the engine."""

from django.apps import AppConfig


class SagasConfig(AppConfig):
    """Finds the sagas, steps and handlers of every context when Django is ready."""

    name = "sagas"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Discover definitions, refuse what could not be carried out, register the checks."""
        from sagas import checks  # noqa: F401 - needs the app registry
        from sagas.orchestration import registry

        registry.discover()
