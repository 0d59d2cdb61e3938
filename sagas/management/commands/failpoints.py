"""``manage.py failpoints list``: the places where faults can be injected."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from sagas.failpoints import PLACES


class Command(BaseCommand):
    """Lists every failpoint with the boundary it guards."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the verb and ``--json``."""
        parser.add_argument("verb", choices=["list"])
        parser.add_argument("--json", action="store_true", help="one JSON document")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print the list."""
        if options["json"]:
            rows = [{"name": name, "guards": guards} for name, guards in PLACES.items()]
            self.stdout.write(json.dumps({"failpoints": rows}, indent=2))
            return
        width = max(map(len, PLACES))
        for name, guards in PLACES.items():
            self.stdout.write(f"{name:<{width}}  {guards}")
