"""What `migrate` sets up around the tables: schemas, session defaults, roles and grants.

A context's role may touch the tables of its own schema and of the engine's, and nothing else.
It may look into the other schemas (USAGE), so that a refusal reads "permission denied for table"
and names the table. All statements may be repeated.
"""

import logging
from typing import Final

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from sagas.append_only import histories

log = logging.getLogger(__name__)
AUDIT: Final = "audit"
PRIVILEGES: Final = "SELECT, INSERT, UPDATE, DELETE"
NEVER: Final = "UPDATE, DELETE, TRUNCATE"  # of what is only ever added to
GRANTED_MEMBERSHIP: Final = 160000  # from PostgreSQL 16 membership has options of its own


def create_schemas(connection: BaseDatabaseWrapper) -> None:
    """Create every schema on the search_path."""
    for schema in settings.SEARCH_PATH:
        _run(connection, f"CREATE SCHEMA IF NOT EXISTS {_quoted(connection, schema)}")


def lift_session_limits(connection: BaseDatabaseWrapper) -> None:
    """Let this session take its time, as a migration may have to."""
    for name in settings.SESSION_LIMITS:
        _run(connection, f"SET {name} TO 0")


def set_session_defaults(connection: BaseDatabaseWrapper) -> None:
    """Set search_path and time-outs on the login role in this database, for sessions to come.

    On the role, since a pooler such as PgBouncer refuses or drops start-up options.
    """
    path = ", ".join(_quoted(connection, schema) for schema in settings.SEARCH_PATH)
    database = _quoted(connection, connection.settings_dict["NAME"])
    role = f"ALTER ROLE CURRENT_USER IN DATABASE {database} SET"
    _run(connection, f"{role} search_path TO {path}")
    _run(connection, f"SET search_path TO {path}")
    for name, seconds in settings.SESSION_LIMITS.items():
        _run(connection, f"{role} {name} TO {round(seconds * 1000)}")


def create_roles(connection: BaseDatabaseWrapper) -> bool:
    """Create the context roles and grant them to the login role; False where that is refused."""
    try:
        with transaction.atomic(using=connection.alias):
            for context in (*settings.SCHEMAS, AUDIT):
                _create_role(connection, role_of(connection, context))
    except DatabaseError as error:
        log.warning(
            "the roles of the contexts were not created, so CONTEXT_ROLES=1 cannot be used: "
            "the login role needs CREATEROLE (%s)",
            str(error).strip(),
        )
        return False
    return True


def grant_privileges(connection: BaseDatabaseWrapper) -> None:
    """Grant each role its own schema and the engine's, and every schema's name."""
    # In one transaction: at no moment may a history be changed.
    with transaction.atomic(using=connection.alias):
        _grant_contexts(connection)
        _grant_audit(connection)


def _grant_contexts(connection: BaseDatabaseWrapper) -> None:
    everything = ", ".join(_quoted(connection, schema) for schema in settings.SEARCH_PATH)
    for context, schema in settings.SCHEMAS.items():
        role = _quoted(connection, role_of(connection, context))
        _run(connection, f"GRANT USAGE ON SCHEMA {everything} TO {role}")
        for own in sorted({schema, settings.SCHEMAS["sagas"]}):
            where = f"IN SCHEMA {_quoted(connection, own)} TO {role}"
            _run(connection, f"GRANT {PRIVILEGES} ON ALL TABLES {where}")
            _run(connection, f"GRANT USAGE, SELECT ON ALL SEQUENCES {where}")
        for table in _tables_of_history(connection, context):
            _run(connection, f"REVOKE {NEVER} ON {_quoted(connection, table)} FROM {role}")


def _tables_of_history(connection: BaseDatabaseWrapper, context: str) -> list[str]:
    there = connection.introspection.table_names()
    return [table for table in histories(apps.get_app_config(context)) if table in there]


def _grant_audit(connection: BaseDatabaseWrapper) -> None:
    audit = _quoted(connection, role_of(connection, AUDIT))
    schema = _quoted(connection, AUDIT)
    _run(connection, f"GRANT USAGE ON SCHEMA {schema} TO {audit}")
    _run(connection, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {audit}")


def role_of(connection: BaseDatabaseWrapper, context: str) -> str:
    """Name the role of a context; roles belong to the whole server, so the database is in it."""
    return f"{connection.settings_dict['NAME']}_{context}"


def _create_role(connection: BaseDatabaseWrapper, role: str) -> None:
    quoted = _quoted(connection, role)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE ROLE {quoted} NOLOGIN")
        cursor.execute("SHOW server_version_num")
        modern = int(cursor.fetchone()[0]) >= GRANTED_MEMBERSHIP
        # Not inherited: what the login role may do does not change with what it may become.
        options = " WITH SET TRUE, INHERIT FALSE" if modern else ""
        cursor.execute(f"GRANT {quoted} TO CURRENT_USER{options}")


def _quoted(connection: BaseDatabaseWrapper, name: str) -> str:
    return connection.ops.quote_name(name)


def _run(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
