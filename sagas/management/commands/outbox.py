"""``manage.py outbox …``: what is not published yet, and publishing it."""

import dataclasses
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from sagas.contexts import contexts
from sagas.management.answering import OperatorCommand
from sagas.management.streaming import Streaming, StreamNotSet
from sagas.management.tailing import Tailing, agreed
from sagas.outbox.backlog import Backlog, backlog, drain
from sagas.outbox.pgoutput import UnreadableLog
from sagas.outbox.slots import NotTailable
from sagas.outbox.tailing import Refused


class Command(OperatorCommand):
    """Shows what waits in the outboxes, relays what is left, tails the log, feeds the stream."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, does in (
            ("show", "what waits, for each context"),
            ("drain", "publish until nothing is left; exit code 1 if something is"),
        ):
            one = verbs.add_parser(verb, help=does)
            one.add_argument("--context", help="only this one")
            one.add_argument("--json", action="store_true")
        tail = verbs.add_parser("tail", help="publish what the database's own log tells of")
        one_of = tail.add_mutually_exclusive_group()
        one_of.add_argument(
            "--once", action="store_true", help="up to the end of the log, then end"
        )
        one_of.add_argument(
            "--setup", action="store_true", help="make publication and slot, and end"
        )
        one_of.add_argument("--drop", action="store_true", help="take them away, and end")
        tail.add_argument("--yes", action="store_true", help="do not ask before --drop")
        verbs.add_parser(
            "stream",
            help="bring events into the stream of RELAY_STREAM as soon as they are committed",
            description="An extra: a process that waits for commits and appends their events to the"
            " stream of RELAY_STREAM at once, until SIGTERM. Any number of them may run, on any"
            " machine. Without one the relay does it, a message later.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Carry out the verb."""
        if options["verb"] == "tail":
            self._tail(options)
            return
        if options["verb"] == "stream":
            self._stream()
            return
        known = contexts()
        if options["context"] not in (None, *known):
            said = f"{options['context']!r} is no context; there are {', '.join(known)}"
            raise CommandError(said, returncode=2)
        chosen = known if options["context"] is None else (options["context"],)
        if options["verb"] == "show":
            self._show(chosen, as_json=options["json"])
        else:
            self._drain(chosen, as_json=options["json"])

    def _tail(self, options: dict[str, Any]) -> None:
        tailing = Tailing(self.stdout.write)
        try:
            if options["setup"]:
                tailing.set_up()
            elif options["drop"]:
                if not (options["yes"] or agreed("Drop the slots? Only the relay is left then.")):
                    raise CommandError("nothing is dropped without a yes", returncode=1)
                tailing.drop()
            elif options["once"]:
                tailing.once()
            else:
                tailing.run()
        except (NotTailable, UnreadableLog, Refused) as no:
            raise CommandError(str(no) or "the broker does not take the events") from no

    def _stream(self) -> None:
        try:
            Streaming(self.stdout.write).run()
        except StreamNotSet as no:
            raise CommandError(str(no), returncode=2) from no

    def _show(self, chosen: tuple[str, ...], *, as_json: bool) -> None:
        found = [backlog(context) for context in chosen]
        if as_json:
            rows = [dataclasses.asdict(each) for each in found]
            self.stdout.write(json.dumps({"outbox": rows}, indent=2, default=str))
            return
        for each in found:
            self.stdout.write(_line(each))

    def _drain(self, chosen: tuple[str, ...], *, as_json: bool) -> None:
        def progress(context: str, size: int) -> None:
            self.stderr.write(f"{context}: {size} published")

        published = drain(chosen, progress)
        left = {context: backlog(context).unsent for context in chosen}
        if as_json:
            self.stdout.write(json.dumps({"published": published, "left": left}, indent=2))
        else:
            for context, count in published.items():
                self.stdout.write(f"{context}: {count} published, {left[context]} left")
        if any(left.values()):
            self.stderr.write(
                "what is left is being published by somebody else, or the broker is not there"
            )
            sys.exit(1)


def _line(each: Backlog) -> str:
    waits = f"{each.unsent} unsent"
    if each.oldest is not None:
        waits += f" since {each.oldest:%Y-%m-%d %H:%M:%S}, taken up {each.attempts} times at most"
    return f"{each.context}: {waits}; {each.unsettled} published, not yet applied by all"
