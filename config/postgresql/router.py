"""Which database a model is in: its context's own, where it has one, else the engine's.

Note [No join crosses a border]

Contexts refer to each other by id alone, so moving one to a database of its own changes where a
statement is sent and nothing else. What is in no context (the engine, Django's own apps) stays
on `default`.
"""

from typing import Any

from django.db.models import Model

from sagas.transactions import alias_of


class ContextRouter:
    """Routes by app label, which is the name of the context."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        """Read where the table is."""
        return alias_of(model._meta.app_label)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Write where the table is."""
        return alias_of(model._meta.app_label)

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """Refuse to relate rows of two databases."""
        return alias_of(one._meta.app_label) == alias_of(other._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Make a table where it belongs and nowhere else."""
        return alias_of(app_label) == db
