"""Tables whose rows are never changed: the database refuses it, also to their owner.

``migrate`` makes the trigger wherever it is missing, off or another one, also in a project that has
the engine and no migrations of ours. Grants come on top where contexts have roles of their own.
"""

from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from sagas.models.event import EventBase
from sagas.transactions import alias_of

_BODY = """
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
            HINT = 'Tell a new event that corrects the old one.';
END """

# The function lies beside its table, wherever that is: a context takes both along.
_GUARD = """
DO $do$
DECLARE
    place text := (SELECT relnamespace::regnamespace::text FROM pg_class
        WHERE oid = '{table}'::regclass);
BEGIN
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION %s.{table}_append_only() RETURNS trigger LANGUAGE plpgsql
        AS %L $sql$, place, $body${body}$body$);
    EXECUTE format($sql$
        CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION %s.{table}_append_only() $sql$, place, place);
END $do$
"""

# A trigger that is there and off refuses nothing, and one for replicas nothing in daily life; nor
# does one of that name that is made before something else, on a condition, or that does nothing.
# 58: before, for each statement, update, delete and truncate.
_GUARD_OF = """
SELECT coalesce((SELECT CASE WHEN tgenabled NOT IN ('O', 'A') THEN 'is off'
        WHEN tgtype = 58 AND tgattr::text = '' AND tgqual IS NULL AND prosrc = %s THEN 'is on'
        ELSE 'is another' END
    FROM pg_trigger JOIN pg_proc f ON f.oid = tgfoid
    WHERE tgrelid = to_regclass(%s) AND tgname = 'append_only'), 'is missing')
WHERE to_regclass(%s) IS NOT NULL
"""
ON = "is on"


def histories(app: AppConfig) -> list[str]:
    """Return the tables of an app that are histories."""
    return [model._meta.db_table for model in app.get_models() if issubclass(model, EventBase)]


def unguarded(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> list[tuple[str, str]]:
    """Return which of these tables could be rewritten, each with what their guard is.

    A table that is not there needs none: its app is not migrated so far.
    """
    found = []
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(_GUARD_OF, [_BODY, table, table])
            found += [(table, said) for (said,) in cursor.fetchall() if said != ON]
    return found


def guard(connection: BaseDatabaseWrapper, table: str) -> None:
    """Let the database refuse to change, delete or truncate rows of a table; safe to repeat."""
    if unguarded(connection, [table]):
        with connection.cursor() as cursor:
            cursor.execute(_GUARD.format(table=table, body=_BODY))


def guard_histories(app_config: AppConfig, using: str, **_: Any) -> None:
    """Guard the histories of an app that has just been migrated."""
    if alias_of(app_config.label) == using:
        for table in histories(app_config):
            guard(connections[using], table)
