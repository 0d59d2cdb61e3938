"""`manage.py replay FILE`: past sales through the real checkout, and the books closed."""

import json
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from config.reachable import require_database
from config.replay.documents import Documents, collect
from config.replay.ordering import NobodyWorks, Ordering, placed_numbers
from config.replay.preparing import prepare
from config.replay.progress import Progress
from config.replay.provider import ProviderList, ProviderSilent
from config.replay.report import as_document, show
from config.replay.source import NotASalesFile, Unreadable, open_source
from config.replay.totals import close_books

START: Final = "run `manage.py up`, or worker, beat and provider as docs/processes.json says"
PROVIDER: Final = f"{START}; PAYMENT_PROVIDER_URL says where the provider is"
AGAIN: Final = "then the same command again, which goes on where it stopped"


class Command(BaseCommand):
    """Places every sale of a file as an order, waits for all, and compares six books."""

    help = (
        "Replay the Online Retail file (CSV, also .xz or .gz) through the running checkout: "
        "needs workers, beat and provider. May be killed and started again; exit code 1 if the "
        "books differ in the end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the file and how to go about it."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--until", type=_date, help="last day to replay, such as 2010-12-31")
        parser.add_argument(
            "--in-flight", type=int, default=64, help="most orders under way at once (64)"
        )
        parser.add_argument(
            "--patience",
            type=float,
            default=30.0,
            help="seconds without any work done before giving up (30)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay; leave with 1 if the books differ."""
        began = time.monotonic()
        if options["in_flight"] < 1:
            raise CommandError("--in-flight has to be at least 1", returncode=2)
        try:
            source = open_source(options["file"])
            documents = collect(source.rows(), until=options["until"])
        except (NotASalesFile, Unreadable) as error:
            raise CommandError(str(error), returncode=2) from error
        require_database()
        provider = ProviderList()
        try:
            provider.check()
            self._play(documents, source.key, options)
            totals = close_books(documents, provider.intents())
        except ProviderSilent as error:
            raise CommandError(f"the payment provider is silent: {error}: {PROVIDER}") from error
        except NobodyWorks as error:
            raise CommandError(f"no worker takes the sagas: {error}: {START}, {AGAIN}") from error
        except DatabaseError as error:
            raise CommandError(f"the database failed: {error}: see to it, {AGAIN}") from error
        seconds = time.monotonic() - began
        if options["json"]:
            self.stdout.write(json.dumps(as_document(documents, totals, seconds)))
        else:
            show(self.stdout.write, documents, totals, seconds)
        if totals.differences:
            sys.exit(1)

    def _play(self, documents: Documents, key: str, options: dict[str, Any]) -> None:
        placed = placed_numbers(documents.sales)
        to_place = [sale for sale in documents.sales if sale.number not in placed]
        # Django's own wrapper of the stream would end each piece of the bar with a new line.
        err = getattr(self.stderr, "_out", sys.stderr)
        progress = Progress(err, len(documents.sales), len(placed), "orders")
        for skipped in documents.skipped:
            progress.say(f"line {skipped.line} {skipped.why}")
        ordering = Ordering(
            sales=documents.sales,
            progress=progress,
            limit=options["in_flight"],
            patience=options["patience"],
        )
        buyers = prepare(
            to_place, documents.sales, key=key, note=lambda what: progress.say(f"preparing {what}")
        )
        ordering.run(to_place, buyers)
        for sale, why in ordering.refused:
            progress.say(f"document {sale.number} was refused: {why}")
        ordering.await_books()


def _date(text: str) -> date:
    return date.fromisoformat(text)
