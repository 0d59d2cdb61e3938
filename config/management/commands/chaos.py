"""`manage.py chaos`: kill, freeze, cut and confuse the whole product, and see what is left."""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.binaries import state_dir
from config.chaos.catalog import BY_ID, FAULTS
from config.chaos.plan import Plan, expand

INSTANCE: Final = "chaos"
ELSEWHERE: Final = (
    "DATABASE_URL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "SIMULATOR_DATABASE_URL",
    *(f"{context}_DATABASE_URL" for context in ("ORDERS", "BILLING", "PAYMENTS")),
    "CONTEXT_DATABASES",
    "CONCORD_FAILPOINTS",
    "CONCORD_FAILPOINTS_FILE",
)
# As in production, but for the failpoints, which want the fast profile or DEBUG.
PRODUCTION: Final = {
    "SECRET_KEY": "chaos",
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "PAYMENT_PROVIDER_KEY": "chaos",
    "WEBHOOK_SECRETS": "chaos",
    "HTTPS": "0",
}
MARK: Final = "CHAOS_BEGUN"
A_WEEK: Final = 7 * 24 * 60
BOUND: Final = {"fast": 60.0, "default": 180.0}

HOW_TO_READ: Final = """
how to read the verdict:
  evidence    injections that are known to have struck something, by the facts in docs/chaos.md;
              a fault with fewer than two is void, and void is red: nothing was shown
  in-flight   sagas that were under way when it struck, over all injections
  recovery    seconds from the heal until these had ended
  inv         I1p is the provider's own list, I12c the clients' log; the others are those of
              `manage.py invariants`, in every snapshot of the run and once more at rest
  base line   sagas that ended in a second before the faults
exit code: 0 = no line is red or void, 1 = some is, 2 = wrong use
"""


class Command(BaseCommand):
    """Starts everything of its own, carries out the plan, judges."""

    help = (
        "Start the product on servers of its own, carry out a plan of faults under load, and "
        "judge what is left. The same seed gives the same plan."
    )
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Explain below the options how the verdict is read."""
        import argparse

        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        listed = "\n".join(f"  {fault.id:6} {fault.says}" for fault in FAULTS)
        epilog = f"faults:\n{listed}\n{HOW_TO_READ}"
        return super().create_parser(prog_name, subcommand, epilog=epilog, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the seed, the time and the faults."""
        parser.add_argument("--minutes", type=float, default=2.0, help="of faults (2)")
        parser.add_argument("--seed", type=int, default=1, help="of plan and clients (1)")
        parser.add_argument(
            "--mode",
            choices=["safety", "liveness"],
            default="safety",
            help="safety: what holds always is asked each second. liveness: no orders after the "
            "heal, and nothing may stay unfinished",
        )
        parser.add_argument("--only", default="", help="faults, separated by commas: F1,F13")
        parser.add_argument("--skip", default="", help="faults that are left out")
        parser.add_argument("--profile", choices=["fast", "default"], default="fast")
        parser.add_argument("--clients", type=int, default=8, help="customers at once (8)")
        parser.add_argument("--workers", type=int, default=3, help="(3)")
        parser.add_argument("--web", type=int, default=2, help="(2)")
        parser.add_argument("--bound", type=float, help="seconds to rest (60, or 180)")
        parser.add_argument(
            "--detached", action="store_true", help="each context in a database of its own"
        )
        parser.add_argument("--plan", action="store_true", help="print the plan and leave")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Plan, run, print; leave with 1 if a line is red or void."""
        _refuse_numbers(options)
        if MARK not in os.environ:
            _begin_again(options["profile"], detached=options["detached"])
        plan = self._plan(options)
        if options["plan"]:
            document = {"plan": plan.digest, **asdict(plan)}
            lines = [json.dumps(document)] if options["json"] else plan.lines()
            self.stdout.write("\n".join(lines))
            return
        if not plan.injections:
            raise CommandError(
                f"the time is too short for {', '.join(plan.left_out)}: give it more --minutes, "
                "or choose others with --only",
                returncode=2,
            )
        verdict = self._run(plan, options)
        if options["json"]:
            self.stdout.write(json.dumps(verdict.as_dict(), default=str))
        else:
            self.stdout.write("\n".join(verdict.lines()))
        if verdict.complaints():
            sys.exit(1)

    def _plan(self, options: dict[str, Any]) -> Plan:
        from config.chaos.places import ways_by_fault

        only, skipped = _named(options["only"]), _named(options["skip"])
        return expand(
            seed=options["seed"],
            seconds=options["minutes"] * 60,
            mode=options["mode"],
            clients=options["clients"],
            lease=float(settings.SAGAS["LEASE"]),
            faults=[
                fault
                for fault in FAULTS
                if (fault.id in only or not only) and fault.id not in skipped
            ],
            ways=ways_by_fault(settings.CONTEXTS),
        )

    def _run(self, plan: Plan, options: dict[str, Any]) -> Any:
        from config.chaos.product import NotStarted, Sizes
        from config.chaos.progress import Progress
        from config.chaos.running import Run, Terms
        from config.chaos.servers import Busy

        folder = _folder(plan)
        progress = Progress(sys.stderr, plan.seconds)
        for line in plan.lines():
            progress.say(line)
        terms = Terms(
            sizes=Sizes(web=options["web"], workers=options["workers"]),
            bound=options["bound"] or BOUND[options["profile"]],
            base_line=max(5.0, min(20.0, plan.seconds / 6)),
        )
        signal.signal(signal.SIGTERM, _leave)
        try:
            return Run(plan, terms, folder, progress).go()
        except (Busy, NotStarted) as wrong:
            raise CommandError(str(wrong)) from None


def _refuse_numbers(options: dict[str, Any]) -> None:
    minutes = options["minutes"]
    if minutes <= 0 or min(options[n] for n in ("clients", "workers", "web")) < 1:
        raise CommandError("every number has to be above zero", returncode=2)
    if not minutes <= A_WEEK:  # also what is no number
        raise CommandError(f"--minutes is at most {A_WEEK}, a week", returncode=2)


def _named(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(names - BY_ID.keys())
    if unknown:
        raise CommandError(
            f"{', '.join(unknown)}: there is no such fault; --help lists them", returncode=2
        )
    return names


def _folder(plan: Plan) -> Path:
    folder = state_dir() / "chaos-runs" / f"{plan.seed}-{plan.digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    return folder


def _leave(*_: object) -> None:
    sys.exit(1)


def _begin_again(profile: str, *, detached: bool) -> None:
    """Run this command once more with an environment of its own: its servers, its profile."""
    from config.chaos.product import HOST, free_ports

    environment = {name: text for name, text in os.environ.items() if name not in ELSEWHERE}
    environment |= PRODUCTION
    environment |= {
        MARK: "1",
        "EMBEDDED_INSTANCE": INSTANCE,
        "PAYMENT_PROVIDER_URL": f"http://{HOST}:{free_ports(1)[0]}",
        "PGAPPNAME": INSTANCE,
        "DEBUG": "0" if profile == "fast" else "1",
        "CONTEXT_DATABASES": "detached" if detached else "shared",
        "CONCORD_PROFILE": "fast" if profile == "fast" else "",
        "LOG_LEVEL": "ERROR",  # of this process; those of the product say more
    }
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606 - this command
