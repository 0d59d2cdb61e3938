"""``manage.py flows …``: flows of events that nobody conducts, from a terminal."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from sagas.choreography import operating, seen
from sagas.choreography.flows import FLOWS
from sagas.choreography.looking import Look, look, missing
from sagas.choreography.seen import Seen
from sagas.choreography.words import missing_words, next_words
from sagas.management import acting
from sagas.management.answering import OperatorCommand, how_many
from sagas.models import WatchedFlow

ACTS = {
    "resume": (operating.resume, "deliver what is missing again, or finish what is through"),
    "compensate": (operating.compensate, "take back what was done"),
    "close": (operating.close, "end a parked flow that was seen to by hand"),
}


class Command(OperatorCommand):
    """Lists watched flows, shows the hops of one, and carries out what operators can press."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="those that have not ended, the oldest first")
        listing.add_argument("--late", action="store_true", help="only where a hop is missing")
        listing.add_argument("--most", type=how_many, default=100)
        listing.add_argument("--json", action="store_true")
        show = verbs.add_parser("show", help="the hops of one, read now")
        show.add_argument("id", metavar="ID")
        show.add_argument("--json", action="store_true")
        for name, (_, says) in ACTS.items():
            act = verbs.add_parser(name, help=says)
            act.add_argument("ids", nargs="+", metavar="ID")
            act.add_argument(
                "--seen",
                type=_seen,
                help="how it stood, as `flows show` says it; refused where it stands otherwise",
            )
            acting.add_arguments(act)

    def handle(self, *_: Any, **options: Any) -> None:
        """Carry out the verb; exit code 1 when something was refused."""
        if options["verb"] == "list":
            self._list(options)
        elif options["verb"] == "show":
            self._show(options)
        else:
            self._act(options)

    def _list(self, options: dict[str, Any]) -> None:
        flows = WatchedFlow.objects.filter(finished_at=None).order_by("id")
        if options["late"]:
            flows = flows.exclude(missing="")
        found = [_row(flow) for flow in flows[: options["most"]]]
        if options["json"]:
            self.stdout.write(json.dumps({"flows": found}, indent=2, default=str))
            return
        for row in found:
            missed = row["missing"] or "under way"
            self.stdout.write(f"{row['id']}  {row['name']}  {row['stands']}: {missed}")
        if not found:
            self.stdout.write("no flow is unfinished")

    def _show(self, options: dict[str, Any]) -> None:
        [flow] = _flows([options["id"]])
        declared = FLOWS.get(flow.name)
        looks = look(flow, declared) if declared else []
        gap = missing(looks)
        told = {
            **_row(flow),
            "missing": missing_words(flow, declared, gap),
            "next": next_words(flow, declared, gap),
            "hops": [_hop(one) for one in looks] or flow.seen,
        }
        if options["json"]:
            self.stdout.write(json.dumps(told, indent=2, default=str))
            return
        self.stdout.write(f"{flow}  {told['stands']}")
        for hop in told["hops"]:
            when = hop["applied_at"] or ("done" if hop.get("through", True) else "missing")
            self.stdout.write(f"  {hop['context']} hears {hop['event']}  {when}")
        for said in filter(None, (told["missing"], told["next"])):
            self.stdout.write(said)
        if flow.finished_at is None:
            self.stdout.write(f"who acts on it saw: --seen {told['seen']}")

    def _act(self, options: dict[str, Any]) -> None:
        verb = options["verb"]
        service, _ = ACTS[verb]

        def do(key: UUID) -> bool:
            told = {"by": options["by"], "reason": options["reason"]}
            return service(key, **told, seen=options["seen"])

        ids = [flow.id for flow in _flows(options["ids"])]
        acting.on_each(self, verb, ids, do, options, of="watched flow")


def _seen(text: str) -> Seen:
    try:
        return seen.read(text)
    except seen.UnreadableMark as wrong:
        raise ArgumentTypeError(str(wrong)) from wrong


def _flows(texts: list[str]) -> list[WatchedFlow]:
    ids = acting.parse_ids(texts, what="flow", where="flows list")
    found = {flow.id: flow for flow in WatchedFlow.objects.filter(id__in=ids)}
    if absent := set(ids) - set(found):
        raise CommandError(f"there is no flow {min(absent)}", returncode=2)
    return [found[key] for key in ids]


def _row(flow: WatchedFlow) -> dict[str, Any]:
    parked = flow.finished_at is None and flow.parked_at is not None
    return {
        "id": str(flow.id),
        "name": flow.name,
        "stands": "parked" if parked else flow.state,
        "about": f"{flow.aggregatetype} {flow.aggregateid}",
        "missing": flow.parked_reason or flow.missing,
        "seen": str(seen.look(flow)),
        "redrives": flow.redrives,
        "opened_at": flow.opened_at,
        "deadline_at": flow.deadline_at,
        "correlation_id": flow.correlation_id,
    }


def _hop(one: Look) -> dict[str, Any]:
    return {
        "context": one.hop.context,
        "event": one.heard,
        "event_id": str(one.event_id) if one.event_id else "",
        "through": one.is_through,
        "applied_at": str(one.applied_at or "") if one.is_through else "",
    }
