"""Tables whose rows are never changed: the database refuses it, also to their owner.

``migrate`` makes the trigger wherever it is missing, also in a project that has the engine and
no migrations of ours. Grants come on top where contexts have roles of their own.
"""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from sagas.models.event import EventBase
from sagas.transactions import alias_of

# The function lies beside its table, wherever that is: a context takes both along.
_GUARD = """
DO $do$
DECLARE
    place text := (SELECT relnamespace::regnamespace::text FROM pg_class
        WHERE oid = '{table}'::regclass);
BEGIN
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION %s.{table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%% is append-only', TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation',
                    HINT = 'Tell a new event that corrects the old one.';
        END $$ $sql$, place);
    EXECUTE format($sql$
        CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %s.{table}
        FOR EACH STATEMENT EXECUTE FUNCTION %s.{table}_append_only() $sql$, place, place);
END $do$
"""

_HAS_GUARD = """
SELECT EXISTS (SELECT FROM pg_trigger
    WHERE tgrelid = to_regclass(%s) AND tgname = 'append_only')
"""


def histories(app: AppConfig) -> list[str]:
    """Return the tables of an app that are histories."""
    return [model._meta.db_table for model in app.get_models() if issubclass(model, EventBase)]


def guard(connection: BaseDatabaseWrapper, table: str) -> None:
    """Let the database refuse to change, delete or truncate rows of a table; safe to repeat."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NULL", [table])
        if cursor.fetchone() == (True,):
            return  # the app is not migrated so far
        cursor.execute(_HAS_GUARD, [table])
        if cursor.fetchone() == (False,):
            cursor.execute(_GUARD.format(table=table))


def guard_histories(app_config: AppConfig, using: str, **_: Any) -> None:
    """Guard the histories of an app that has just been migrated."""
    if alias_of(app_config.label) == using:
        for table in histories(app_config):
            guard(connections[using], table)
