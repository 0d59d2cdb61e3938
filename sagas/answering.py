"""Which databases answer at this moment, for who reads several and goes on without one of them."""

import select
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

import psycopg
from django.db import Error, connections

from sagas.contexts import contexts
from sagas.transactions import ENGINE, alias_of

PATIENCE: Final = 3.0
"""Seconds for an answer, on a connection that is open; for a new one, as its settings say."""


class Answering:
    """What answered when it was asked: once each, so that one that is away is waited for once."""

    def __init__(self) -> None:
        """Ask each that has tables of a context or of the engine."""
        aliases = dict.fromkeys(map(alias_of, (ENGINE, *contexts())))
        self.troubles = {alias: trouble(alias) for alias in aliases}

    @property
    def away(self) -> list[str]:
        """Return the aliases of those that did not answer."""
        return [alias for alias, said in self.troubles.items() if said]

    @property
    def alerts(self) -> list[str]:
        """Return what a page says that has to do without them."""
        return [
            f"The database {alias} is {self.troubles[alias]}: this page is without what it has."
            for alias in self.away
        ]

    def has(self, *some: str) -> bool:
        """Return whether the databases of all of these contexts answer."""
        return not any(self.troubles[alias_of(context)] for context in some)

    def among(self, some: Iterable[str]) -> list[str]:
        """Return those of the contexts whose databases answer."""
        return [context for context in some if self.has(context)]


def trouble(alias: str) -> str:
    """Return why a database does not answer, in words, or nothing."""
    connection = connections[alias]
    try:
        connection.cursor().close()  # connects, if need be
        with connection.wrap_database_errors:
            _ask(connection.connection.pgconn)
    except Error as error:
        connection.close()  # whoever asks next has a new one
        return f"not reachable ({type(error).__name__})"
    return ""


def _ask(session: Any) -> None:
    """Wait for an answer, but not for good: a server that hangs says nothing, and ends nothing.

    The time-outs of a statement are the server's own, and those of the network are met.
    """
    end = monotonic() + PATIENCE
    session.send_query(b"SELECT 1")
    session.flush()
    poll = select.poll()
    poll.register(session.socket, select.POLLIN)
    while session.is_busy():
        if not poll.poll(1000 * max(end - monotonic(), 0.0)):
            raise psycopg.OperationalError("no answer in time")
        session.consume_input()
    while (result := session.get_result()) is not None:
        if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError("no answer, but an error")
