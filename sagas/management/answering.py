"""Commands of operators: what they cannot begin with is one line and exit code 2."""

from argparse import ArgumentTypeError
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from sagas.correlation import acting
from sagas.error_texts import storable


class OperatorCommand(BaseCommand):
    """A command that reads the engine's tables."""

    def execute(self, *words: Any, **options: Any) -> str | None:
        """Carry it out.

        :raises CommandError: with exit code 2, if the database does not answer
        """
        by = options.get("by")
        try:
            with acting(f"operator:{by}") if by else nullcontext():
                return super().execute(*words, **options)
        except (OperationalError, InterfaceError) as away:
            first = str(away).partition("\n")[0]
            said = f"the database does not answer ({first}): is it up, and is DATABASE_URL right?"
            raise CommandError(said, returncode=2) from away


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
    return number


def a_text(text: str) -> str:
    """Read a text that a database can hold; a terminal hands on bytes that are no text.

    :raises ArgumentTypeError: if it is none
    """
    if storable(text) != text:
        raise ArgumentTypeError("it has a zero byte, or bytes that are no UTF-8: write it anew")
    return text
