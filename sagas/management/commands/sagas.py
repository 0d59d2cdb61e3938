"""``manage.py sagas …``: what the admin shows and can do, from a terminal."""

import dataclasses
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from django.db.models import Q

from sagas.management import acting, definitions, holding, outlook, signaling
from sagas.management.answering import OperatorCommand, a_text, how_many
from sagas.models import SagaInstance, Status, StepFault, StepRun
from sagas.orchestration import orchestrator, parked, pressable, seen
from sagas.orchestration.asleep import wait_of
from sagas.orchestration.seen import Seen
from sagas.reasons import ReasonMissing, UnfitText

ACTS = {
    "resume": orchestrator.resume,
    "compensate": orchestrator.compensate,
    "park": orchestrator.park,
    "skip": orchestrator.skip,
}
REFUSED = {
    "resume": "it is not parked",
    "compensate": "it is past the point of no return, or no longer running",
    "park": "it has ended or is parked already",
    "skip": "somebody was faster, or it does not stand at that step",
}


STANDING = {
    "parked": Q(parked_at__isnull=False),
    "unfinished": Q(finished_at__isnull=True),
    "waiting": Q(waiting_for__isnull=False),
}


OF_A_RUN = (
    "step_no",
    "name",
    "context",
    "direction",
    "state",
    "attempts",
    "committed_at",
    "due_at",
)
OF_A_FAULT = (
    "name",
    "direction",
    "attempt",
    "kind",
    "error",
    "at",
    "next_at",
    "worker",
    "times",
    "first_at",
)


def _id(text: str) -> UUID:
    return acting.parse_ids([text], what="saga", where="sagas list")[0]


def _why(verb: str, saga_id: UUID, options: dict[str, Any]) -> str:
    if verb != "skip":
        return REFUSED[verb]
    saga = SagaInstance.objects.get(id=saga_id)
    refusal = pressable.skip(saga, options["step"] or "")
    return refusal or seen.changed(options["seen"], saga) or REFUSED[verb]


def _seen(text: str) -> Seen:
    try:
        return seen.read(a_text(text))
    except seen.UnreadableMark as wrong:
        raise ArgumentTypeError(f"{wrong}; `sagas show` says it") from wrong


class Command(OperatorCommand):
    """Lists sagas, shows one, and acts on one with a reason."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="sagas, the newest first")
        listing.add_argument(
            "--status",
            choices=[*Status.values, *STANDING],
        )
        listing.add_argument("--name", type=a_text, help="only sagas of this definition")
        listing.add_argument("--by-cause", action="store_true", help="what stops the parked ones")
        listing.add_argument("--limit", type=how_many, default=50)
        listing.add_argument("--json", action="store_true")
        show = verbs.add_parser("show", help="one saga with its steps and faults")
        show.add_argument("id")
        show.add_argument("--json", action="store_true")
        defined = verbs.add_parser("definitions", help="definitions and their living instances")
        defined.add_argument("--json", action="store_true")
        signaling.describe(verbs.add_parser("signal", help="tell a saga what it waits for"))
        for verb in ACTS:
            act = verbs.add_parser(verb, help=f"{verb} a saga")
            act.add_argument("id", nargs="?")
            acting.add_arguments(act)
            if verb != "park":
                act.add_argument(
                    "--cause", type=a_text, help="all that are parked for it, one by one"
                )
                act.add_argument(
                    "--name", type=a_text, help="with --cause: only sagas of this definition"
                )
            if verb == "skip":
                act.add_argument(
                    "--step", type=a_text, help="its name; needed where branches are left"
                )
                act.add_argument(
                    "--seen",
                    type=_seen,
                    required=True,
                    help="where it stood when you decided, as `sagas show` says it; with --cause"
                    " as `sagas list --by-cause` does",
                )

    def handle(self, *_: Any, **options: Any) -> None:
        """Carry out the verb; exit code 1 when it was refused."""
        verb = options["verb"]
        if verb == "list":
            self._list(options)
        elif verb == "definitions":
            self._definitions(as_json=options["json"])
        elif verb == "show":
            self._show(_id(options["id"]), as_json=options["json"])
        elif verb == "signal":
            said, taken = signaling.carry_out(_id(options["id"]), options)
            self.stdout.write(said)
            if not taken:
                sys.exit(1)
        else:
            self._act(verb, options)

    def _causes(self, options: dict[str, Any]) -> None:
        if options["status"] not in (None, "parked"):
            raise CommandError("only parked sagas have a cause", returncode=2)
        groups = parked.groups(options["name"])[: options["limit"]]
        if options["json"]:
            rows = [dataclasses.asdict(group) for group in groups]
            self.stdout.write(json.dumps({"causes": rows}, indent=2, default=str))
            return
        for group in groups:
            self.stdout.write(
                f"{group.count:>5}  {group.name} at {Seen(way=group.way, step=group.step)}"
                f"  since {group.oldest:%Y-%m-%d %H:%M:%S}  {group.cause}"
            )
        if not groups:
            self.stdout.write("no saga is parked")

    def _list(self, options: dict[str, Any]) -> None:
        if options["by_cause"]:
            self._causes(options)
            return
        sagas = SagaInstance.objects.order_by("-started_at")
        status = options["status"]
        if status:
            sagas = sagas.filter(STANDING.get(status, Q(status=status)))
        if options["name"]:
            sagas = sagas.filter(name=options["name"])
        rows = [_saga(saga) for saga in sagas[: options["limit"]]]
        if options["json"]:
            self.stdout.write(json.dumps({"sagas": rows}, indent=2, default=str))
            return
        if not rows:
            self.stdout.write("no such saga")
        for row in rows:
            parked = f"  parked: {row['parked_reason']}" if row["parked_reason"] else ""
            waits = f"  {row['waits']}" if row["waits"] and not parked else ""
            self.stdout.write(
                f"{row['saga_id']}  {row['status']:<12}  {row['name']} {row['key']}"
                f"  at step {row['cursor']}{parked}{waits}"
            )

    def _definitions(self, *, as_json: bool) -> None:
        found = definitions.rows()
        if as_json:
            self.stdout.write(json.dumps({"definitions": found}, indent=2, default=str))
        else:
            for line in definitions.lines():
                self.stdout.write(line)
        if any(row["fit"] != "fits" for row in found):
            sys.exit(1)

    def _show(self, saga_id: UUID, *, as_json: bool) -> None:
        saga = SagaInstance.objects.filter(id=saga_id).first()
        if saga is None:
            raise CommandError(f"there is no saga {saga_id}")
        found = StepRun.objects.filter(saga_id=saga_id)
        runs = list(found.order_by("committed_at", "id").values(*OF_A_RUN))
        faults = list(StepFault.objects.filter(saga_id=saga_id).order_by("at").values(*OF_A_FAULT))
        if as_json:
            document = {"saga": _saga(saga), "steps": runs, "faults": faults}
            document |= {"locks": holding.document(saga)} | outlook.document(saga)
            self.stdout.write(json.dumps(document, indent=2, default=str))
            return
        facts = [f"{k:<16} {v if v is not None else '-'}" for k, v in _saga(saga).items()]
        for line in (*outlook.lines(saga), *facts, *holding.lines(saga)):
            self.stdout.write(line)
        self.stdout.write("\nsteps")
        for run in runs:
            self.stdout.write(
                f"  {run['committed_at']:%H:%M:%S.%f}  {run['direction']:<4} {run['name']:<24}"
                f" {run['state']:<9} attempts {run['attempts']}{_due(run['due_at'])}"
            )
        for fault in faults:
            often = f" ({fault['times']} times)" if fault["times"] > 1 else ""
            self.stdout.write(
                f"  {fault['at']:%H:%M:%S.%f}  {fault['kind']}: {fault['error']}{often}"
            )

    def _act(self, verb: str, options: dict[str, Any]) -> None:
        if bool(options["id"]) == bool(options.get("cause")):
            raise CommandError("name either an id or a --cause", returncode=2)
        step = {"step": options["step"]} if verb == "skip" else {}
        at = options.get("seen")
        if options["id"] and at is not None and at.token is None:
            said = "of one saga --seen has a number too, like forward:take:17; `sagas show` says it"
            raise CommandError(said, returncode=2)

        alike = {} if options["id"] else parked.alike(options["cause"], options["name"], at)

        def do(saga_id: UUID) -> bool:
            saw = alike.get(saga_id, at)
            told = step if saw is None else {**step, "seen": saw}
            return ACTS[verb](saga_id, by=options["by"], reason=options["reason"], **told)

        if options["id"]:
            self._act_on_one(verb, options, do)
        else:
            acting.on_each(self, verb, list(alike), do, options, of="saga")

    def _act_on_one(self, verb: str, options: dict[str, Any], do: acting.Do) -> None:
        saga_id = _id(options["id"])
        if not SagaInstance.objects.filter(id=saga_id).exists():
            raise CommandError(f"there is no saga {saga_id}")
        try:
            accepted = do(saga_id)
        except (ReasonMissing, UnfitText) as wrong:
            raise CommandError(str(wrong), returncode=2) from wrong
        if options["json"]:
            self.stdout.write(json.dumps({"saga_id": str(saga_id), "accepted": accepted}))
        elif accepted:
            self.stdout.write(f"{verb}: done")
        else:
            self.stdout.write(f"{verb}: refused, {_why(verb, saga_id, options)}")
        if not accepted:
            sys.exit(1)


def _due(at: datetime | None) -> str:
    """Say of a branch that is left when somebody looks at it again."""
    return f", due {at:%H:%M:%S}" if at else ""


def _saga(saga: SagaInstance) -> dict[str, Any]:
    names = (
        "name",
        "def_version",
        "key",
        "subject_id",
        "status",
        "past_return",
        "cursor",
        "attempts",
        "failure",
        "failed_step",
        "parked_reason",
        "waiting_for",
        "correlation_id",
        "started_at",
        "deadline_at",
        "step_deadline_at",
        "due_at",
        "finished_at",
    )
    wait = wait_of(saga)
    waits = {
        "waiting_for": wait.what if wait else None,
        "waiting_since": wait.since if wait else None,
        "wait_until": wait.until if wait else None,
        "waits": wait.words if wait else None,
    }
    return {"saga_id": saga.id, **{name: getattr(saga, name) for name in names}, **waits}
