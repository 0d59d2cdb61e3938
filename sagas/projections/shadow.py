"""The table in which a projection is built anew, and its change of places with the live one.

The shadow is laid out from the live table as it is in the database: columns, defaults, checks,
indexes and grants. After the change everything has the names it had before, so that migrations
find what they expect.
"""

import hashlib
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from sagas.transactions import connection_of

_INDEXES = """
SELECT i.relname, pg_get_indexdef(x.indexrelid), c.contype FROM pg_index x
JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_constraint c ON c.conindid = x.indexrelid AND c.contype IN ('p', 'u')
WHERE x.indrelid = %s::regclass ORDER BY i.relname
"""

_GRANTS = """
SELECT coalesce(r.rolname, ''), a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE c.oid = %s::regclass AND a.grantee <> c.relowner
"""

_SCHEMA = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %s::regclass
"""

_LONGEST = 63


def name_of(table: str) -> str:
    """Return the name of what becomes a table, or one of its indexes, at the change."""
    ending = "_rebuilt"
    if len(table) + len(ending) <= _LONGEST:
        return table + ending
    digest = hashlib.sha256(table.encode()).hexdigest()[:8]
    return table[: _LONGEST - len(ending) - 9] + "_" + digest + ending


def lay_out(context: str, table: str) -> None:
    """Make an empty shadow of a table, in place of one that is there; part of a transaction."""
    connection = connection_of(context)
    quote = connection.ops.quote_name
    [(schema,)] = _asked(connection, _SCHEMA, table)
    shadow = f"{quote(schema)}.{quote(name_of(table))}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {shadow}")
        cursor.execute(
            f"CREATE TABLE {shadow} (LIKE {quote(schema)}.{quote(table)}"
            " INCLUDING ALL EXCLUDING INDEXES)"
        )
        for index, definition, kind in _asked(connection, _INDEXES, table):
            head, _, tail = definition.partition(" USING ")
            unique = "UNIQUE " if head.startswith("CREATE UNIQUE") else ""
            new = quote(name_of(index))
            cursor.execute(f"CREATE {unique}INDEX {new} ON {shadow} USING {tail}")
            if kind:
                rule = "PRIMARY KEY" if kind == "p" else "UNIQUE"
                added = f"ADD CONSTRAINT {new} {rule} USING INDEX {new}"
                cursor.execute(f"ALTER TABLE {shadow} {added}")
        for role, privilege in _asked(connection, _GRANTS, table):
            whom = quote(role) if role else "PUBLIC"
            cursor.execute(f"GRANT {privilege} ON {shadow} TO {whom}")


def analyze(context: str, table: str) -> None:
    """Let PostgreSQL know what is in the shadow, so that its first readers are planned well."""
    connection = connection_of(context)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {connection.ops.quote_name(name_of(table))}")


def lock(context: str, table: str, patience: float) -> None:
    """Let nobody read or write a table until the transaction ends.

    :raises OperationalError: if somebody else keeps it for longer than so many seconds
    """
    connection = connection_of(context)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
        cursor.execute(f"LOCK TABLE {connection.ops.quote_name(table)} IN ACCESS EXCLUSIVE MODE")


def change_places(context: str, table: str) -> None:
    """Let the shadow be the table from now on; part of the transaction that has the lock."""
    connection = connection_of(context)
    quote = connection.ops.quote_name
    indexes = [row[0] for row in _asked(connection, _INDEXES, table)]
    with connection.cursor() as cursor:
        # Not CASCADE: what depends on the table, like a view, is not to vanish with it.
        cursor.execute(f"DROP TABLE {quote(table)}")
        cursor.execute(f"ALTER TABLE {quote(name_of(table))} RENAME TO {quote(table)}")
        for index in indexes:
            cursor.execute(f"ALTER INDEX {quote(name_of(index))} RENAME TO {quote(index)}")


def _asked(connection: BaseDatabaseWrapper, statement: str, table: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [connection.ops.quote_name(table)])
        return list(cursor.fetchall())
