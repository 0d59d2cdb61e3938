"""Commands of operators: what they cannot begin with is one line and exit code 2."""

import sys
from argparse import ArgumentTypeError
from contextlib import nullcontext
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from sagas.correlation import acting
from sagas.error_texts import storable

CONNECTION_LOST: Final = ("08", "57P")
"""How the states begin with which a server ends a connection."""


class OperatorCommand(BaseCommand):
    """A command that reads the engine's tables."""

    def execute(self, *words: Any, **options: Any) -> str | None:
        """Carry it out.

        :raises CommandError: with exit code 2, if the database does not answer, or gives up
        """
        by = options.get("by")
        try:
            with acting(f"operator:{by}") if by else nullcontext():
                return super().execute(*words, **options)
        except (OperationalError, InterfaceError) as away:
            raise CommandError(said_of(away), returncode=2) from away


def said_of(trouble: Exception) -> str:
    """Return what an operator is told; a database that says why it gave up is not away."""
    first = str(trouble).partition("\n")[0]
    state = getattr(trouble.__cause__, "sqlstate", None)
    if state is None or state.startswith(CONNECTION_LOST):
        return f"the database does not answer ({first}): is it up, and is DATABASE_URL right?"
    return f"the database gave up ({first}): try again; pg_stat_activity shows what is in the way"


def how_many(text: str) -> int:
    """Read a number of rows.

    :raises ArgumentTypeError: if it is none, or below zero
    """
    try:
        number = int(text)
    except ValueError as wrong:
        raise ArgumentTypeError(f"{text!r} is no number") from wrong
    if number < 0:
        raise ArgumentTypeError(f"{number} is below zero")
    return min(number, sys.maxsize)  # the most that a database counts to


def a_text(text: str) -> str:
    """Read a text that a database can hold; a terminal hands on bytes that are no text.

    :raises ArgumentTypeError: if it is none
    """
    if storable(text) != text:
        raise ArgumentTypeError("it has a zero byte, or bytes that are no UTF-8: write it anew")
    return text
