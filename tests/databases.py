"""Where a statement of a test goes: to the database that has the tables it names.

There is one unless contexts are detached (`manage.py test --detached`).
"""

import re

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from config.audit import asked
from sagas.transactions import alias_of, connection_of, is_detached

_CONTEXTS = re.compile(r"\b(orders|billing|payments|sagas)_\w")
_ORDERS = re.compile(r"\((SELECT \w+ FROM orders_order [^()]*)\)")


def database_of(statement: str) -> BaseDatabaseWrapper:
    """The connection to the one database whose tables a statement names."""
    contexts = set(_CONTEXTS.findall(statement))
    assert len({alias_of(context) for context in contexts}) <= 1, f"in two databases: {statement}"
    return connection_of(contexts.pop()) if contexts else connection


def by_itself(statement: str) -> str:
    """A statement with what it asks of the orders put in, where these are in another database."""
    if not is_detached("orders"):
        return statement

    def found(question):
        return f"'{rows(question[1])[0][0]}'::uuid"

    while _ORDERS.search(statement):
        statement = _ORDERS.sub(found, statement)
    return statement


def rows(statement: str, parameters=()) -> list[tuple]:
    """What a statement returns, if it returns anything."""
    if "audit." in statement:
        return asked(statement)
    with database_of(statement).cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
