"""`manage.py invariants`: everything that has to hold, evaluated now."""

import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from config import audit
from config.invariants import INVARIANTS, Result, When, default_age, evaluate
from config.reachable import require_database

OLDEST: Final = 1e9
"""Seconds; nothing here is older, and a database counts no age without end."""


def _age(text: str) -> float:
    try:
        age = float(text)
    except ValueError:
        age = -1.0
    if not 0 <= age <= OLDEST:  # nor is it where it is no number
        raise ArgumentTypeError(f"{text!r} is no number of seconds from 0 to {OLDEST:.0f}")
    return age


class Command(BaseCommand):
    """Reads one snapshot through the audit views; changes nothing."""

    help = (
        "Evaluate every invariant that SQL can state; exit code 1 if one is violated. What holds "
        "only at rest is evaluated for what is old enough, or with --at-rest for everything."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is known of the moment."""
        parser.add_argument(
            "--at-rest",
            action="store_true",
            help="nothing is under way: no saga may be unfinished, no event on its way",
        )
        parser.add_argument(
            "--age",
            type=_age,
            default=default_age(),
            help="seconds after which a thing has had its time (%(default)g)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Evaluate and print; leave with 1 if there is a violation."""
        require_database()
        with audit.snapshot() as cursor:
            results = evaluate(cursor, INVARIANTS, at_rest=options["at_rest"], age=options["age"])
        if options["json"]:
            document = {"invariants": [asdict(result) for result in results]}
            self.stdout.write(json.dumps(document))
        else:
            self._show(results, at_rest=options["at_rest"])
        if any(result.violations for result in results):
            sys.exit(1)

    def _show(self, results: Sequence[Result], *, at_rest: bool) -> None:
        self.stdout.write(f"{'':5}{'':34}{'checked':>10}{'violations':>12}")
        for result in results:
            self.stdout.write(
                f"{result.id:5}{result.name:34}{result.checked:>10,}{result.violations:>12,}"
            )
            for part in result.parts:
                if part.violations:
                    self.stdout.write(f"       violated {part.violations:,} times: {part.says}")
                    self.stdout.write(f"       worst: {part.worst}")
        if not at_rest:
            kind = When.REST.value
            self.stdout.write(f"what holds at {kind} was asked of what is old enough (--at-rest)")
