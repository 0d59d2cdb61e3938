"""Making the views, and taking them away while tables change."""

import logging
from typing import Final

from django.db import ProgrammingError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from psycopg import errors

from config.audit.files import body_in, comment_of, is_derived, view_names

SCHEMA: Final = "audit"

log = logging.getLogger(__name__)


def install(connection: BaseDatabaseWrapper) -> None:
    """Make every view anew, in one transaction, readable by the audit role where there is one.

    A view whose tables are not there (after ``migrate orders zero``, say) is left out. Where
    contexts have databases of their own, each has the views of its own tables.
    """
    with transaction.atomic(using=connection.alias):
        _drop_all(connection)
        for name in sorted(view_names(), key=is_derived):
            body = body_in(name, connection.alias)
            if body is not None:
                _create(connection, name, body)
        _grant(connection)


def drop_before_migrating(connection: BaseDatabaseWrapper) -> None:
    """Take the views away if a migration is due: a column that a view shows cannot change type."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        with transaction.atomic(using=connection.alias):
            _drop_all(connection)


def _drop_all(connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.views"
            " WHERE table_schema = %s AND table_name LIKE 'v\\_%%'",
            [SCHEMA],
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP VIEW IF EXISTS {_named(connection, name)} CASCADE")


def _create(connection: BaseDatabaseWrapper, name: str, body: str) -> None:
    view = _named(connection, name)
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(f"CREATE VIEW {view} AS {body}")
            text = comment_of(name).replace("'", "''")
            cursor.execute(f"COMMENT ON VIEW {view} IS '{text}'")
    except ProgrammingError as error:
        if not isinstance(error.__cause__, errors.UndefinedTable):
            raise
        log.warning("%s.%s is left out: %s", SCHEMA, name, str(error).partition("\n")[0])


def _grant(connection: BaseDatabaseWrapper) -> None:
    role = f"{connection.settings_dict['NAME']}_{SCHEMA}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone():
            quoted = connection.ops.quote_name(role)
            cursor.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quoted}")
            cursor.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {quoted}")


def _named(connection: BaseDatabaseWrapper, name: str) -> str:
    return f"{SCHEMA}.{connection.ops.quote_name(name)}"
