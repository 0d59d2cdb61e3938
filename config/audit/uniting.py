"""The views of several databases as one, where contexts have databases of their own.

Each database has the views of its own tables. For a question over all of them their rows are
copied into temporary tables of the engine's database, in a transaction that is rolled back; no
extension of PostgreSQL is needed, and nothing is left behind. It reads everything that is asked
for, so it is for commands, not for pages.

The snapshots of the databases are taken one right after the other, the engine's first: whatever it
says has ended has ended in the contexts too. What else is compared over a border may differ by what
was committed in between; at rest it may not.
"""

import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from psycopg.pq import TransactionStatus

from config.audit.files import body_of, is_derived, view_names

_NAMED: Final = re.compile(r"\baudit\.(v_\w+)")
_COLUMNS: Final = """
SELECT c.relname, string_agg(
    format('%%I %%s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE n.nspname = 'audit' AND c.relkind = 'v' AND c.relname = ANY(%s) GROUP BY c.relname
"""


def is_needed() -> bool:
    """Return whether there is more than one database."""
    return len(list(connections)) > 1


def named_in(question: str) -> set[str]:
    """Return the views that a question names, and those that they are made of."""
    found = set(_NAMED.findall(question))
    for name in sorted(found):
        if is_derived(name):
            found |= named_in(body_of(name))
    return found


@contextmanager
def united(wanted: Collection[str] | None = None) -> Iterator[CursorWrapper]:
    """Open a snapshot of every database and yield a cursor that sees the views of all."""
    views = set(view_names()) if wanted is None else set(wanted)
    derived = sorted(name for name in views if is_derived(name))
    engine = connections[DEFAULT_DB_ALIAS]
    sources = [connections[alias] for alias in connections if alias != DEFAULT_DB_ALIAS]
    with ExitStack() as stack:
        for source in (engine, *sources):
            _open_snapshot(stack, source)
        with engine.cursor() as cursor:
            for source in (*sources, engine):
                _copy(source, cursor, views - {*derived})
            for name in derived:
                cursor.execute(_here(f"CREATE TEMP VIEW {name} AS {body_of(name)}"))
            # Whoever asks does so in words of the views, wherever they are.
            yield cast("CursorWrapper", _Translating(cursor))


def _open_snapshot(stack: ExitStack, source: BaseDatabaseWrapper) -> None:
    source.ensure_connection()
    is_fresh = source.connection.info.transaction_status is TransactionStatus.IDLE
    stack.enter_context(source.connection.transaction(force_rollback=True))
    with source.cursor() as cursor:
        if is_fresh:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT 1")


def _copy(source: BaseDatabaseWrapper, into: CursorWrapper, views: Collection[str]) -> None:
    with source.cursor() as cursor:
        cursor.execute(_COLUMNS, [sorted(views)])
        columns = cursor.fetchall()
    for name, definition in columns:
        into.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} ({definition})")
        # Read to the end first: source and target may be one connection.
        with (
            source.cursor() as cursor,
            cursor.copy(f"COPY (SELECT * FROM audit.{name}) TO STDOUT") as out,  # noqa: S608
        ):
            rows = [bytes(chunk) for chunk in out]
        with cast("Any", into).copy(f"COPY pg_temp.{name} FROM STDIN") as target:
            for chunk in rows:
                target.write(chunk)
        into.execute(f"ANALYZE pg_temp.{name}")


class _Translating:
    """A cursor for which ``audit.v_orders`` is the united one."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, statement: str, parameters: Any = None) -> Any:
        return self._cursor.execute(_here(statement), parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _here(statement: str) -> str:
    return _NAMED.sub(r"pg_temp.\1", statement)
