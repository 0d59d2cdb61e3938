"""``manage.py events …``: the history against the tables, one stream as it stood, the schemas."""

import dataclasses
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from sagas.contexts import contexts
from sagas.core.errors import SagasError
from sagas.management.answering import OperatorCommand
from sagas.streams import documents
from sagas.streams.reading import NoInstant, parse_instant
from sagas.streams.showing import NOT_FOLDED, Shown, show
from sagas.streams.verifying import Verdict, verify


def instant(text: str) -> datetime:
    """Read an instant; without an offset it is in the project's time zone.

    :raises ArgumentTypeError: if it is none
    """
    try:
        return parse_instant(text)
    except NoInstant as wrong:
        raise ArgumentTypeError(f"{wrong} ({text!r})") from wrong


class Command(OperatorCommand):
    """Verifies the tables by the history, shows a stream as of an instant, keeps the schemas."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        checking = verbs.add_parser(
            "verify", help="fold every stream; exit code 1 if a table says something else"
        )
        checking.add_argument("--context", help="only this one")
        checking.add_argument("--json", action="store_true")
        showing = verbs.add_parser("show", help="one stream, and what it comes to")
        showing.add_argument("stream", help="type:id, as in orders.order:ID or sagas.saga:ID")
        showing.add_argument("--as-of", type=instant, help="as it stood at this instant")
        showing.add_argument("--json", action="store_true")
        schemas = verbs.add_parser("schemas", help="the JSON Schema of every event and version")
        doing = schemas.add_mutually_exclusive_group(required=True)
        doing.add_argument("--write", action="store_true", help="write the files")
        doing.add_argument("--check", action="store_true", help="exit code 1 if they differ")
        schemas.add_argument("--directory", type=Path, help="where, if not docs/events/schemas")

    def handle(self, *_: Any, **options: Any) -> None:
        """Carry out the verb."""
        verbs = {"verify": self._verify, "show": self._show, "schemas": self._schemas}
        verbs[options["verb"]](**options)

    def _verify(self, **options: Any) -> None:
        known = contexts()
        if options["context"] not in (None, *known):
            said = f"{options['context']!r} is no context; there are {', '.join(known)}"
            raise CommandError(said, returncode=2)
        verdict = verify(known if options["context"] is None else (options["context"],))
        if options["json"]:
            self.stdout.write(json.dumps(dataclasses.asdict(verdict), indent=2, default=str))
        else:
            self._tell(verdict)
        if verdict.differences:
            sys.exit(1)

    def _tell(self, verdict: Verdict) -> None:
        for each in verdict.differences:
            self.stdout.write(
                f"{each.stream} {each.field}: told {each.folded}, stored {each.stored}"
            )
        self.stdout.write(
            f"{verdict.events:,} events of {verdict.streams:,} streams, {verdict.rows:,} rows"
            f" compared: {len(verdict.differences):,} differences"
        )

    def _show(self, **options: Any) -> None:
        try:
            shown = show(options["stream"], options["as_of"])
        except SagasError as wrong:
            raise CommandError(f"{wrong} ({options['stream']})", returncode=2) from wrong
        if options["json"]:
            self.stdout.write(json.dumps(_document(shown), indent=2, default=str))
            return
        for event in shown.events:
            self.stdout.write(
                f"{event.number:>5}  {event.at:%Y-%m-%d %H:%M:%S}  {event.name} v{event.version}"
            )
        if shown.state is None:
            self.stdout.write(NOT_FOLDED if shown.events else "at that instant it was not there")
            return
        for name, value in shown.state.items():
            self.stdout.write(f"{name} = {value}")

    def _schemas(self, **options: Any) -> None:
        directory = options["directory"] or _directory()
        said = list(documents.broken(directory))
        if not said and options["check"]:
            said = [*documents.stale(directory)]
        if said:
            for line in said:
                self.stderr.write(line)
            sys.exit(1)
        for path in documents.write(directory) if options["write"] else ():
            self.stdout.write(f"written: {path.name}")


def _directory() -> Path:
    return Path(getattr(settings, "BASE_DIR", Path.cwd())) / "docs" / "events" / "schemas"


def _document(shown: Shown) -> dict[str, Any]:
    return {
        "stream": shown.stream,
        "as_of": shown.as_of,
        "events": [
            {
                "number": event.number,
                "type": event.name,
                "version": event.version,
                "at": event.at,
                "recorded_at": event.recorded_at,
                "actor": event.actor,
                "correlation_id": event.correlation_id,
            }
            for event in shown.events
        ],
        "state": shown.state,
    }
