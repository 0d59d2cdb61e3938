"""The schema editor that makes each app's tables in the schema of the app."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.backends.postgresql.schema import DatabaseSchemaEditor as PostgresqlEditor
from django.db.models import Model

if TYPE_CHECKING:
    from django.db.backends.postgresql.base import DatabaseWrapper


class DatabaseSchemaEditor(PostgresqlEditor):
    """Overrides `create_model` alone: alterations find the table through the search_path."""

    connection: "DatabaseWrapper"

    def create_model(self, model: type[Model]) -> None:
        """Make the table, and by way of this same method its many-to-many tables, in its place."""
        schema = settings.SCHEMAS.get(model._meta.app_label)
        if schema is None:
            super().create_model(model)
        else:
            with self._placed_in(schema):
                super().create_model(model)

    @contextmanager
    def _placed_in(self, schema: str) -> Iterator[None]:
        quoted = self.quote_name(schema)
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}")
        self._search_in((schema, *settings.SEARCH_PATH))
        try:
            yield
        except BaseException:
            # Inside a transaction its roll-back restores the path, and no statement would work.
            if not self.connection.in_atomic_block:
                self._search_in(settings.SEARCH_PATH)
            raise
        self._search_in(settings.SEARCH_PATH)

    def _search_in(self, schemas: tuple[str, ...]) -> None:
        self.execute("SET search_path TO " + ", ".join(map(self.quote_name, schemas)))


def search_path(quote: Any) -> str:
    """Write the search_path of the project as SQL."""
    return ", ".join(quote(schema) for schema in settings.SEARCH_PATH)
