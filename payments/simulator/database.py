"""The simulator's own database: where it is, how it is made, and its transactions."""

import time
from contextlib import AbstractContextManager
from threading import Event
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

POLL_SECONDS = 0.2


def connection_settings(url: str) -> dict[str, Any]:
    """Turn a PostgreSQL URL into Django's form of it."""
    parts: dict[str, Any] = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 3, "application_name": "provider", **parts},
    }


def in_transaction() -> AbstractContextManager[None]:
    """Open the one transaction of a call.

    The engine's ``transaction()`` belongs to the other side of the wire.
    """
    return transaction.atomic(durable=True)  # noqa: TID251


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run one statement and return all it returns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def records(statement: str, *parameters: Any) -> list[dict[str, Any]]:
    """Run one statement and return all it returns, each row by the names of its columns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, columns, strict=True)) for columns in cursor.fetchall()]


def record(statement: str, *parameters: Any) -> dict[str, Any] | None:
    """Run one statement and return its first row by the names of its columns."""
    found = records(statement, *parameters)
    return found[0] if found else None


def row(statement: str, *parameters: Any) -> tuple[Any, ...] | None:
    """Run one statement and return its first row, if there is one."""
    found = rows(statement, *parameters)
    return found[0] if found else None


def changed(statement: str, *parameters: Any) -> int:
    """Run one statement and return how many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def wait_and_migrate(seconds: float) -> None:
    """Bring the tables up to date, waiting for a database that is still coming up.

    :raises OperationalError: if there is still no database after so many seconds
    """
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            _create_if_missing()
            call_command("migrate", verbosity=0, interactive=False)
        except OperationalError:
            if time.monotonic() > give_up_at:
                raise
            connection.close()
            Event().wait(POLL_SECONDS)
        else:
            connection.close()
            return


def _create_if_missing() -> None:
    try:
        connection.ensure_connection()
    except OperationalError as refused:
        if "does not exist" not in str(refused):
            raise
        _create()


def _create() -> None:
    parameters = connection.get_connection_params()
    name = parameters.pop("dbname")
    for unwanted in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(unwanted, None)
    try:
        with psycopg.connect(**parameters, dbname="postgres", autocommit=True) as session:
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.errors.DuplicateDatabase:
        return
    except psycopg.Error as refused:
        raise OperationalError(str(refused)) from refused
