"""``manage.py projections …``: how far the read models have come, and building one anew."""

import dataclasses
import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from sagas.management.answering import OperatorCommand
from sagas.projections.declaring import (
    PROJECTIONS,
    Projection,
    UnknownProjection,
    UnreadableEvent,
    projection,
)
from sagas.projections.lag import Lag, lags
from sagas.projections.rebuild import NeverQuiet, Rebuilt, TakenOver, rebuild

WIDTH = 40


class Command(OperatorCommand):
    """Shows how far each read model has come, or builds it anew beside the live one."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Describe the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        lag = verbs.add_parser("lag", help="what is told and not yet in each; exit code 1 if any")
        lag.add_argument("--json", action="store_true")
        anew = verbs.add_parser("rebuild", help="from the first event on, while events come")
        anew.add_argument("names", nargs="*", metavar="NAME", help="by default all")
        anew.add_argument("--json", action="store_true")

    def handle(self, *_: Any, **options: Any) -> None:
        """Carry out the verb."""
        if options["verb"] == "lag":
            self._lag(as_json=options["json"])
        else:
            self._rebuild(options["names"], as_json=options["json"])

    def _lag(self, *, as_json: bool) -> None:
        found = lags()
        if as_json:
            rows = [
                dataclasses.asdict(one) | {"is_out_of_date": one.is_out_of_date} for one in found
            ]
            self.stdout.write(json.dumps({"projections": rows}, indent=2, default=str))
        else:
            self.stdout.write(f"{'projection':<24} {'behind':>8} {'seconds':>9}  as of")
            for one in found:
                self.stdout.write(_line(one))
        if any(one.behind or one.is_out_of_date for one in found):
            sys.exit(1)

    def _rebuild(self, names: list[str], *, as_json: bool) -> None:
        chosen = [_named(name) for name in names or sorted(PROJECTIONS)]
        done = [self._one(each) for each in chosen]
        if as_json:
            rows = [dataclasses.asdict(one) for one in done]
            self.stdout.write(json.dumps({"rebuilt": rows}, indent=2))

    def _one(self, chosen: Projection) -> Rebuilt:
        try:
            done = rebuild(chosen, lambda come, all_: self._bar(chosen.name, come, all_))
        except TakenOver as taken:
            raise CommandError(f"{taken}: another rebuild has begun and goes on") from taken
        except NeverQuiet as busy:
            raise CommandError(
                f"{busy}: a transaction stays open; the live table is as it was, try again"
            ) from busy
        except UnreadableEvent as unread:
            raise CommandError(
                f"{unread} is none that it reads; the live table is as it was"
            ) from unread
        self.stderr.write(
            f"{done.name}: {done.rows} rows from {done.events} events in {done.seconds:.1f} s;"
            f" readers waited {done.locked_seconds:.3f} s at most"
        )
        return done

    def _bar(self, name: str, come: int, all_: int) -> None:
        full = WIDTH * come // max(all_, 1)
        ending = "\r" if self.stderr.isatty() else "\n"
        self.stderr.write(
            f"{name} [{'#' * full:<{WIDTH}}] {100 * come // max(all_, 1)} %", ending=ending
        )


def _named(name: str) -> Projection:
    try:
        return projection(name)
    except UnknownProjection as unknown:
        raise CommandError(f"there is no projection {unknown}", returncode=2) from unknown


def _line(one: Lag) -> str:
    line = f"{one.name:<24} {one.behind:>8} {one.seconds:>9.1f}  {one.as_of:%Y-%m-%d %H:%M:%S}"
    if one.starting:
        line += f"; {one.starting} from before it began"
    if one.is_out_of_date:
        line += f"; built by version {one.built_version}, now {one.version}: rebuild it"
    if one.rebuilding_since is not None:
        line += f"; rebuilding since {one.rebuilding_since:%Y-%m-%d %H:%M:%S}"
    return line
