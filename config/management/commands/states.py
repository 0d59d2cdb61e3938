"""`manage.py states`: the states and moves of everything that has them."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.states_document import PATH, document


class Command(BaseCommand):
    """Makes `docs/states.md` from the code, or says whether it is up to date."""

    help = "Print docs/states.md as the code has it; --write writes it, --check compares."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do with it."""
        doing = parser.add_mutually_exclusive_group()
        doing.add_argument("--write", action="store_true", help="write the file")
        doing.add_argument("--check", action="store_true", help="exit code 1 if it differs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print, write or compare."""
        text = document()
        if options["write"]:
            PATH.write_text(text)
        elif options["check"]:
            if not PATH.exists() or PATH.read_text() != text:
                self.stderr.write("docs/states.md differs: python3 manage.py states --write")
                sys.exit(1)
        else:
            self.stdout.write(text, ending="")
