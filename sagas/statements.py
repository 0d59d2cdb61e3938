"""Cursors for the engine's own statements, which PostgreSQL plans once for each connection.

Django puts parameters into the text of a statement, so that PostgreSQL sees a new one each time
and plans it anew. The engine has few statements, long ones, and sends them for every step: their
planning cost more than their work. A connection whose ``prepare_threshold`` is set (in the
``OPTIONS`` of ``DATABASES``) keeps their plans; without it they are sent as they are, which a
pooler that cannot follow prepared statements needs.
"""

from typing import Any

import psycopg
from django.db.backends.utils import CursorWrapper

from sagas.transactions import connection_of


def cursor_of(context: str) -> CursorWrapper:
    """Return a cursor on a context's database whose parameters travel beside the statement."""
    connection = connection_of(context)
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor: Any = psycopg.Cursor(connection.connection)
    make = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
    return make(cursor)
