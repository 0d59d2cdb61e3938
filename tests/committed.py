"""Emptying the database between tests that commit.

Only what a test has written to is emptied, and what the migrations have put in (the chart of
accounts, content types) is put back where it has changed, so that no test depends on the one
before it.
"""

from django.apps import apps
from django.db import connections

# Rows are deleted, which is quicker than a new file for the table and each of its indexes; the
# dead ones stay behind, and a table of more bytes of them gets new files after all.
SMALL = 64 * 1024


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
        self.sums = self._sums()

    def restore(self) -> None:
        """Empty every table in one transaction, then put the reference rows back."""
        connection = connections[self.alias]
        connection.ensure_connection()
        with connection.connection.transaction(), connection.cursor() as cursor:
            # The ledger refuses TRUNCATE by a trigger; as a replica no trigger is fired.
            cursor.execute("SET LOCAL session_replication_role = replica")
            self._empty(cursor)
            for table in self._changed():
                cursor.execute(f"DELETE FROM {self._quoted(table)}")
                self._copy_in(table, self.reference[table])

    def _empty(self, cursor) -> None:
        """Empty what is not reference; a process that was killed has ended its transaction."""
        sizes = self._sizes()
        if small := [table for table, size in sizes.items() if size <= SMALL]:
            quoted = [*map(self._quoted, small)]
            locked = f"LOCK TABLE {', '.join(quoted)} IN ACCESS EXCLUSIVE MODE"
            cursor.execute("; ".join([locked, *(f"DELETE FROM {table}" for table in quoted)]))
        if large := [self._quoted(table) for table, size in sizes.items() if size > SMALL]:
            cursor.execute(f"TRUNCATE {', '.join(large)} CASCADE")

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of each table that is no reference and was ever written to."""
        own = [table for table in self.tables if table not in self.reference]
        with connections[self.alias].cursor() as cursor:
            cursor.execute(
                "SELECT name, size FROM unnest(%s::text[]) AS name,"
                " pg_relation_size(name::regclass) AS size WHERE size > 0",
                [own],
            )
            return dict(cursor.fetchall())

    def _changed(self) -> list[str]:
        sums = self._sums()
        return [table for table in self.reference if sums[table] != self.sums[table]]

    def _sums(self) -> dict[str, tuple]:
        """Return a sum over the rows of each reference table, whatever their order."""
        selects = (
            f"SELECT '{table}', count(*), sum(hashtextextended(of_one::text, 0))"
            f" FROM {self._quoted(table)} AS of_one"
            for table in self.reference
        )
        if not self.reference:
            return {}
        with connections[self.alias].cursor() as cursor:
            cursor.execute(" UNION ALL ".join(selects))
            return {table: of_rows for table, *of_rows in cursor.fetchall()}

    def _filled(self) -> list[str]:
        selects = (
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {self._quoted(table)})"
            for table in self.tables
        )
        with connections[self.alias].cursor() as cursor:
            cursor.execute(" UNION ALL ".join(selects))
            return [row[0] for row in cursor.fetchall()]

    def _quoted(self, name: str) -> str:
        return connections[self.alias].ops.quote_name(name)

    def _copy_out(self, table: str) -> bytes:
        with (
            connections[self.alias].cursor() as cursor,
            cursor.copy(f"COPY {self._quoted(table)} TO STDOUT") as copy,
        ):
            return b"".join(bytes(chunk) for chunk in copy)

    def _copy_in(self, table: str, rows: bytes) -> None:
        with (
            connections[self.alias].cursor() as cursor,
            cursor.copy(f"COPY {self._quoted(table)} FROM STDIN") as copy,
        ):
            copy.write(rows)
