"""Reading the views."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from config.audit import uniting

_open: ContextVar[Any] = ContextVar("audit_snapshot", default=None)


@contextmanager
def snapshot() -> Iterator[CursorWrapper]:
    """Open one snapshot that no commit can fall into; read-only, and a question may take its time.

    Whatever is asked on Django's connection meanwhile is asked of the same snapshot. Where
    contexts have databases of their own it is one snapshot of each, see `config.audit.uniting`.
    """
    with _all() as cursor:
        token = _open.set(cursor)
        try:
            yield cursor
        finally:
            _open.reset(token)


@contextmanager
def _all() -> Iterator[CursorWrapper]:
    if uniting.is_needed():
        with uniting.united() as cursor:
            yield cursor
        return
    connection.ensure_connection()
    with connection.connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0")
        yield cursor


def asked(question: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows that answer a question to the views, in the snapshot that is open, if any."""
    cursor = _open.get()
    if cursor is None and uniting.is_needed():
        with uniting.united(uniting.named_in(question)) as cursor:
            return _rows(cursor, question, parameters)
    if cursor is None:
        with connection.cursor() as cursor:
            return _rows(cursor, question, parameters)
    return _rows(cursor, question, parameters)


def _rows(cursor: Any, question: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    cursor.execute(question, parameters)
    return list(cursor.fetchall())
