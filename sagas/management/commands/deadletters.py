"""``manage.py deadletters …``: events that could not be handled, from a terminal.

And messages that no worker could read.
"""

import json
import sys
from argparse import ArgumentParser
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import Count, Min

from sagas.management import acting
from sagas.management.answering import OperatorCommand, a_text
from sagas.models import DeadLetter, UnreadableMessage
from sagas.outbox import dead_letters, discarding
from sagas.outbox.letter_marks import look, with_cause

COLUMNS = (
    "id",
    "event_name",
    "context",
    "producer",
    "event_id",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "attempts",
    "reason",
    "cause",
    "first_at",
    "last_at",
    "next_at",
)
UNREADABLE = (
    "id",
    "queue",
    "reason",
    "times",
    "size",
    "content_type",
    "content_encoding",
    "headers",
    "received_at",
    "last_at",
)


class Command(OperatorCommand):
    """Lists dead letters, tries them again, or goes past one for good."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="those that are open, the oldest first")
        listing.add_argument(
            "--context", type=a_text, help="only what this context could not handle"
        )
        listing.add_argument("--by-cause", action="store_true", help="one line for each cause")
        listing.add_argument("--json", action="store_true")
        resend = verbs.add_parser("resend", help="try again at once")
        resend.add_argument("ids", nargs="*", metavar="ID")
        resend.add_argument(
            "--cause", type=a_text, help="all with this cause; `list --by-cause` shows causes"
        )
        acting.add_arguments(resend)
        unreadable = verbs.add_parser("unreadable", help="messages that no worker could read")
        unreadable.add_argument("--json", action="store_true", help="with the bytes that are kept")
        discard = verbs.add_parser(
            "discard", help="let the context go on without the event, or put a message away"
        )
        discard.add_argument("id", metavar="ID")
        discard.add_argument("--yes", action="store_true", help="do not ask")
        acting.add_arguments(discard)

    def handle(self, *_: Any, **options: Any) -> None:
        """Carry out the verb; exit code 1 when something was refused."""
        if options["verb"] == "list":
            self._list(options)
        elif options["verb"] == "resend":
            self._resend(options)
        elif options["verb"] == "unreadable":
            self._unreadable(as_json=options["json"])
        elif UnreadableMessage.objects.filter(id__in=_parsed([options["id"]])).exists():
            self._put_away(options)
        else:
            self._discard(options)

    def _list(self, options: dict[str, Any]) -> None:
        letters = _open()
        if options["context"]:
            letters = letters.filter(context=options["context"])
        if options["by_cause"]:
            groups = letters.values("context", "event_name", "cause")
            rows = list(groups.annotate(count=Count("id"), oldest=Min("first_at")))
            rows.sort(key=lambda row: (-row["count"], row["oldest"]))
            line, what = _group_line, "causes"
        else:
            rows = [dict(row) for row in letters.order_by("id").values(*COLUMNS)]
            line, what = _line, "dead_letters"
        if options["json"]:
            self.stdout.write(json.dumps({what: rows}, indent=2, default=str))
            return
        for row in rows:
            self.stdout.write(line(row))
        if not rows:
            self.stdout.write("no dead letter is open")

    def _resend(self, options: dict[str, Any]) -> None:
        if bool(options["ids"]) == bool(options["cause"]):
            raise CommandError("name either ids or a --cause", returncode=2)
        alike = dead_letters.alike(options["cause"]) if options["cause"] else {}
        ids = list(alike) or _ids(options["ids"])

        def do(key: UUID) -> bool:
            told = {"by": options["by"], "reason": options["reason"]}
            return dead_letters.resend(key, **told, seen=alike.get(key))

        acting.on_each(self, "resend", ids, do, options, of="dead letter")

    def _discard(self, options: dict[str, Any]) -> None:
        ids = _ids([options["id"]])
        letter = with_cause(DeadLetter.objects.filter(id=ids[0])).first()
        saw = None if letter is None else look(letter)  # who is asked takes a while to answer
        if letter is not None and discarding.is_behind_a_hole(letter):
            raise CommandError(f"{letter.id} cannot be discarded: {discarding.BEHIND_A_HOLE}")
        if letter is not None and not options["yes"] and not self._confirmed(letter):
            self.stderr.write("nothing was done")
            sys.exit(1)

        def do(key: UUID) -> bool:
            told = {"by": options["by"], "reason": options["reason"]}
            return discarding.discard(key, **told, seen=saw)

        acting.on_each(self, "discard", ids, do, options, of="dead letter")

    def _unreadable(self, *, as_json: bool) -> None:
        waiting = UnreadableMessage.objects.filter(discarded_at=None).order_by("id")
        if as_json:
            rows = [
                {**row, "body_hex": bytes(row.pop("body")).hex()}
                for row in waiting.values(*UNREADABLE, "body")
            ]
            told = {"unreadable_messages": rows}
            self.stdout.write(json.dumps(told, indent=2, default=str))
            return
        found = list(waiting.values(*UNREADABLE))
        for row in found:
            times = "once" if row["times"] == 1 else f"{row['times']} times"
            came = f"{row['queue']}  since {_at(row['received_at'])}, {times}, {row['size']} bytes"
            self.stdout.write(f"{row['id']}  {came}: {row['reason']}")
        if not found:
            self.stdout.write("no unreadable message waits")

    def _put_away(self, options: dict[str, Any]) -> None:
        # Nothing depends on it and nothing follows, so nobody is asked twice.
        def do(key: UUID) -> bool:
            return discarding.discard_unreadable(key, by=options["by"], reason=options["reason"])

        ids = _parsed([options["id"]])
        acting.on_each(self, "discard", ids, do, options, of="unreadable message")

    def _confirmed(self, letter: DeadLetter) -> bool:
        self.stderr.write(
            f"{letter.context} will never handle {letter.event_name} {letter.event_id}, and goes on"
            f" with what came after it in {letter.aggregate_type} {letter.aggregate_id}."
        )
        try:
            return input("Type 'discard' to do it: ").strip() == "discard"
        except EOFError:
            return False


def _open() -> Any:
    return with_cause(DeadLetter.objects.filter(resolved_at=None))


def _parsed(texts: list[str]) -> list[UUID]:
    return acting.parse_ids(texts, what="dead letter", where="deadletters list")


def _ids(texts: list[str]) -> list[UUID]:
    found = _parsed(texts)
    missing = set(found) - set(DeadLetter.objects.filter(id__in=found).values_list("id", flat=True))
    if missing:
        raise CommandError(f"there is no dead letter {min(missing)}", returncode=2)
    return found


def _line(row: dict[str, Any]) -> str:
    again = f"next attempt {row['next_at']:%H:%M:%S}" if row["next_at"] else "waits for an operator"
    stuck = f"{row['event_name']} in {row['context']}  since {_at(row['first_at'])}"
    return f"{row['id']}  {stuck}, {row['attempts']} attempts, {again}: {row['reason']}"


def _group_line(row: dict[str, Any]) -> str:
    stuck = f"{row['event_name']} in {row['context']}  since {_at(row['oldest'])}"
    return f"{row['count']:>5}  {stuck}  {row['cause']}"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}"
