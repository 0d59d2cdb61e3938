"""One database with everything in it, where each context has its own: made to count at rest.

No snapshot spans several databases, and no invariant that joins contexts can be asked of one of
them. At rest nothing moves, so a copy of all is as good as a snapshot.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import sql

from config.binaries import ROOT
from config.chaos.servers import Servers
from config.database import with_name

NAME: Final = "gathered"
ENGINE: Final = "sagas"
_COLUMNS: Final = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = %s AND c.relkind = 'r'
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY c.relname
"""


class Gathering:
    """Copies the tables of every context beside those of the engine."""

    def __init__(self, servers: Servers) -> None:
        """Take the servers; nothing is made yet."""
        self._servers = servers
        self._databases = dict.fromkeys((ENGINE, *settings.CONTEXTS), "default")
        self._databases |= settings.CONTEXT_DATABASES

    def prepare(self) -> None:
        """Make the database, with all tables in one."""
        self._servers.own.create_database(NAME)
        environment = {
            **os.environ,
            "DATABASE_URL": with_name(settings.DATABASE_URL, NAME),
            "CONTEXT_DATABASES": "shared",
        }
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)

    def gather(self) -> None:
        """Copy everything anew."""
        with self._servers.database(NAME) as target, target.transaction():
            # Neither triggers nor foreign keys, in whatever order the tables come.
            target.execute("SET LOCAL session_replication_role = replica")
            for schema, alias in self._databases.items():
                name = str(settings.DATABASES[alias]["NAME"])
                with self._servers.database(name) as source:
                    _copy_schema(source, target, schema)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Have Django's own connection look at the copy inside the block."""
        settings_of: Any = connection.settings_dict
        before = settings_of["NAME"]
        connection.close()
        settings_of["NAME"] = NAME
        try:
            yield
        finally:
            connection.close()
            settings_of["NAME"] = before


def _copy_schema(
    source: psycopg.Connection[Any], target: psycopg.Connection[Any], schema: str
) -> None:
    wanted = _columns(target, schema)
    for table, columns in _columns(source, schema).items():
        if table not in wanted:
            continue
        names = {
            "table": sql.Identifier(schema, table),
            "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        }
        target.execute(sql.SQL("DELETE FROM {table}").format(**names))
        out = sql.SQL("COPY {table} ({columns}) TO STDOUT (FORMAT BINARY)").format(**names)
        into = sql.SQL("COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)").format(**names)
        with source.cursor().copy(out) as rows, target.cursor().copy(into) as copy:
            for block in rows:
                copy.write(block)


def _columns(of: psycopg.Connection[Any], schema: str) -> Mapping[str, list[str]]:
    return dict(of.execute(_COLUMNS, [schema]).fetchall())
