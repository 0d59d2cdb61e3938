"""Questions to the audit views."""

from typing import Any

from django.db import connection


def asked(question: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows that answer a question."""
    with connection.cursor() as cursor:
        cursor.execute(question, parameters)
        return list(cursor.fetchall())
