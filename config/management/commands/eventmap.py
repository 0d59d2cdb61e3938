"""`manage.py eventmap`: who tells what, and who listens."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.event_map_document import PATH, as_json, document


class Command(BaseCommand):
    """Makes `docs/event-map.md` from the code, or says whether it is up to date."""

    help = "Print docs/event-map.md as the code has it; --write writes it, --check compares."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do with it."""
        doing = parser.add_mutually_exclusive_group()
        doing.add_argument("--write", action="store_true", help="write the file")
        doing.add_argument("--check", action="store_true", help="exit code 1 if it differs")
        doing.add_argument("--json", action="store_true", help="print the map as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print, write or compare."""
        if options["json"]:
            self.stdout.write(json.dumps({"events": as_json()}))
            return
        text = document()
        if options["write"]:
            PATH.write_text(text)
        elif options["check"]:
            if not PATH.exists() or PATH.read_text() != text:
                self.stderr.write("docs/event-map.md differs: python3 manage.py eventmap --write")
                sys.exit(1)
        else:
            self.stdout.write(text, ending="")
