"""`manage.py simulate`: every fault at every step of a saga, rehearsed in one process."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

INSTANCE: Final = "simulate"
OTHERS: Final = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CONTEXT_DATABASES")

HOW_TO_READ: Final = """
how to read the grid:
  A line is a step, forward or back; a column is a kind of fault; a cell says how the saga ended.
  > completed  < compensated  p parked first, then resumed by an operator  ! wrong  . no such case
  "> x5" means five places around the step, every one of them ending so.
  Wrong means: not at rest, an effect twice or left over, money held at the other side after a
  compensation, or another end than this fault must have. Every wrong one is told below the grid.
  The engine, its statements and PostgreSQL are the real ones; participants are stand-ins, the
  broker is a list, time passes by decree. A child saga is rehearsed by its own name.
  --schedules N rehearses N combinations of two or three faults as well, chosen by --seed.
exit code: 0 = every end is right, 1 = some are wrong, 2 = wrong use
"""


class Command(BaseCommand):
    """Rehearses one saga or all of them and prints a grid of end states for each."""

    help = "Rehearse every placement of faults over the steps of sagas, in one process."
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Explain below the options how the grid is read."""
        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, epilog=HOW_TO_READ, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take which saga, and how many combinations."""
        parser.add_argument("saga", nargs="?", help="name of a saga, e.g. orders.checkout (all)")
        parser.add_argument("--schedules", type=int, default=0, help="combinations of faults (0)")
        parser.add_argument("--seed", type=int, default=1, help="chooses the combinations (1)")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start servers of its own, rehearse, print; exit code 1 when an end is wrong."""
        if options["schedules"] < 0:
            raise CommandError("--schedules takes a number from 0", returncode=2)
        if os.environ.get("EMBEDDED_INSTANCE") != INSTANCE:
            _begin_again()
        if not settings.EMBEDDED.lock():
            raise CommandError("another simulation is under way: wait until it has ended")
        logging.disable(logging.CRITICAL)
        try:
            settings.EMBEDDED.start(fast=True)
            call_command("migrate", verbosity=0, interactive=False)
            documents = [self._rehearse(saga, options) for saga in _chosen(options["saga"])]
        finally:
            connections.close_all()
            settings.EMBEDDED.stop()
        if options["json"]:
            self.stdout.write(json.dumps({"sagas": documents}, indent=2))
        if any(document["wrong"] for document in documents):
            sys.exit(1)

    def _rehearse(self, saga: Any, options: dict[str, Any]) -> dict[str, Any]:
        from sagas.simulation import grid
        from sagas.simulation.participants import make_table

        make_table()
        began = time.monotonic()
        title = f"{saga.name} version {saga.version}"
        singles = list(grid.every_placement(saga, self._progress(title)))
        more = list(
            grid.schedules(
                saga,
                count=options["schedules"],
                seed=options["seed"],
                progress=self._progress(f"{title}, combinations"),
            )
        )
        wrong = [verdict for verdict in (*singles, *more) if verdict.wrong]
        seconds = round(time.monotonic() - began, 1)
        if not options["json"]:
            self._show(title, singles, more, wrong, seconds)
        return {
            "saga": saga.name,
            "version": saga.version,
            "placements": [grid.described(verdict) for verdict in singles],
            "schedules": len(more),
            "seed": options["seed"],
            "wrong": [grid.described(verdict) for verdict in wrong],
            "seconds": seconds,
        }

    def _show(
        self, title: str, singles: list[Any], more: list[Any], wrong: list[Any], seconds: float
    ) -> None:
        from sagas.simulation import grid

        self.stdout.write(f"\n{title}\n{grid.table(singles)}")
        combined = f" and {len(more)} combinations" if more else ""
        self.stdout.write(
            f"{len(singles)} placements{combined} in {seconds:g} s, {len(wrong)} wrong"
        )
        for verdict in wrong:
            self.stdout.write(f"  {grid.told(verdict.placements)}: {'; '.join(verdict.wrong)}")

    def _progress(self, title: str) -> Callable[[int, int], None]:
        def show(done: int, of: int) -> None:
            if sys.stderr.isatty():
                bar = "#" * (30 * done // of)
                end = "\n" if done == of else ""
                self.stderr.write(f"\r\033[K{title} [{bar:<30}] {done}/{of}", ending=end)
            elif done == of:
                self.stderr.write(f"{title}: {done} rehearsed")

        return show


def _chosen(name: str | None) -> list[Any]:
    from sagas.orchestration import registry

    known = list(registry.SAGAS.values())
    chosen = [saga for saga in known if name in {None, saga.name}]
    if not chosen:
        names = ", ".join(sorted({saga.name for saga in known}))
        raise CommandError(f"there is no saga {name!r}; there is {names}", returncode=2)
    return chosen


def _begin_again() -> None:
    """Run this command once more on servers of its own, where no worker is at work."""
    # The rehearsed effects are one table of one database.
    for variable in (
        *OTHERS,
        *(f"{context.upper()}_DATABASE_URL" for context in settings.CONTEXTS),
    ):
        os.environ.pop(variable, None)
    os.environ.update(EMBEDDED_INSTANCE=INSTANCE, CONCORD_PROFILE="fast")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - this very command
