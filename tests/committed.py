"""Emptying the database between tests that commit.

Only what a test has filled is emptied, and what the migrations have put in (the chart of
accounts, content types) is put back, so that no test depends on the one before it.
"""

from django.apps import apps
from django.db import connections


class CommittedDatabases:
    """All databases of the run: one, or in the detached mode one for each context."""

    def __init__(self) -> None:
        self.databases = [CommittedDatabase(alias) for alias in connections]

    def restore(self) -> None:
        """Bring each back to what it was when migrated."""
        for database in self.databases:
            database.restore()


class CommittedDatabase:
    """Remembers the database as migrated and brings it back to that."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        names = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
        self.tables = sorted(names & set(connections[alias].introspection.table_names()))
        self.reference = {table: self._copy_out(table) for table in self._filled()}

    def restore(self) -> None:
        """Empty every table in one statement, then put the reference rows back."""
        filled = self._filled()
        if not filled:
            return
        connection = connections[self.alias]
        quoted = ", ".join(map(connection.ops.quote_name, filled))
        connection.ensure_connection()
        with connection.connection.transaction(), connection.cursor() as cursor:
            # The ledger refuses TRUNCATE by a trigger; as a replica no trigger is fired.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(f"TRUNCATE {quoted} CASCADE")
            for table, rows in self.reference.items():
                self._copy_in(table, rows)

    def _filled(self) -> list[str]:
        connection = connections[self.alias]
        quote = connection.ops.quote_name
        selects = (
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {quote(table)})" for table in self.tables
        )
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(selects))
            return [row[0] for row in cursor.fetchall()]

    def _copy_out(self, table: str) -> bytes:
        connection = connections[self.alias]
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {connection.ops.quote_name(table)} TO STDOUT") as copy,
        ):
            return b"".join(bytes(chunk) for chunk in copy)

    def _copy_in(self, table: str, rows: bytes) -> None:
        connection = connections[self.alias]
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {connection.ops.quote_name(table)} FROM STDIN") as copy,
        ):
            copy.write(rows)
