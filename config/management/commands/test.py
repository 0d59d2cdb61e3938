"""`manage.py test`: the test suite, by pytest."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from config import bootstrap


class Command(BaseCommand):
    """Listed here for `help`; manage.py starts the suite itself, before settings are read."""

    help = (
        "Run the test suite on its own PostgreSQL and Valkey; arguments go to pytest. "
        "With --detached: each context in a database of its own. "
        "With --lint: ruff, mypy, Django's checks and missing migrations instead."
    )
    requires_system_checks = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand over to pytest, unless only help is wanted."""
        if {"-h", "--help"}.intersection(argv[2:]):
            super().run_from_argv(argv)
        bootstrap.run_tests(argv[2:])

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the suite from `call_command`."""
        bootstrap.run_tests(sys.argv[2:])
