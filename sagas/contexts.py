"""Which apps are contexts: those that ``settings.CONTEXTS`` names, else those with the tables."""

from django.apps import apps
from django.conf import settings


def contexts() -> tuple[str, ...]:
    """Return the labels of the apps whose outbox, inbox and requests the engine looks after."""
    chosen: tuple[str, ...] | None = getattr(settings, "CONTEXTS", None)
    if chosen is not None:
        return tuple(chosen)
    return with_tables()


def with_tables() -> tuple[str, ...]:
    """Return the labels of the apps that have an outbox, and so can be contexts."""
    from sagas.models.contextual import OutboxBase

    tables = [model for model in apps.get_models() if issubclass(model, OutboxBase)]
    return tuple(sorted({model._meta.app_label for model in tables}))
