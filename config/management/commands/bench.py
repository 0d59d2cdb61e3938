"""`manage.py bench`: what a durable saga costs, against a bare Celery chain; and the outbox."""

import json
import os
import sys
import time
from typing import Any, Final

import redis
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

SETTINGS: Final = "config.bench.settings"
INSTANCE: Final = "bench"
# As in production: DEBUG would make Django keep every statement. None of the rest is used.
PRODUCTION: Final = {
    "DEBUG": "0",
    "SECRET_KEY": "benchmark",
    "ALLOWED_HOSTS": "localhost",
    "PAYMENT_PROVIDER_KEY": "benchmark",
    "WEBHOOK_SECRETS": "benchmark",
}

HOW_TO_READ: Final = """
how to read the result:
  ours      a saga of four local steps through the engine: every step durable, with journal,
            barrier and fencing, beat's ticks running
  celery    a bare chain of four tasks that make the same four writes; nothing durable but these
  Compare "sagas per CPU second": all CPU of workers, beat, PostgreSQL, Valkey and of the driver
  that starts the sagas. It hardly moves with what else the machine does; "sagas per second" does.
  The ratio is the median of the rounds' ratios, ours / celery; its spread is shown beside it.
  Above 1 is good for the first two lines, below 1 for the others.
  Latency is the time from the start call until another session sees the last commit, on an idle
  system. Write transactions and WAL are those of the whole server, nothing subtracted.
  With failing sagas the fourth step says no, and three compensations take the writes back.
  With --stored N as many finished sagas and as many sleeping ones lie in the tables; compare the
  ratio with that of a run without.
  Without DATABASE_URL the servers of an instance of its own are used, with durable commits.
outbox (an instance of its own, durable commits):
  events/s  what one relay in this process takes out of an outbox in which N events wait; CPU is
            that of relay, PostgreSQL and Valkey; medians of the rounds
  against   the same relay with a message for each event instead of one for fifty: paired rounds on
            a tenth of the events
  latency   from the commit of a single event, at 100 a second, until a foreign reader of the stream
            has it, and until the handler of who listens writes; worker, beat, relay at work
  waiting   the same, at 20 a second, while so many older events wait for the same listener
  beside    django-outbox-pattern and django-jaiminho with the same rows, rate and stream, each in
            processes and a database of its own, if var/peers has config/requirements-bench.txt;
            the CPU is that of the relay alone; latency until the event is in the stream
  --soak N  N events in portions that are written, relayed, brought into the stream, applied, settled
            and pruned: the tables' greatest size in the first half and in the second must be the same
exit code: 0 = measured, 1 = a saga did not end as it had to, 2 = wrong use
"""


class Command(BaseCommand):
    """Runs both sides in turn on the same servers and prints medians and ratios."""

    help = "Measure a durable saga against a bare Celery chain of the same writes."
    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        """Explain below the options how the result is read, line by line."""
        import argparse

        options["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, epilog=HOW_TO_READ, **options)

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what is measured, against what, and how much of it."""
        parser.add_argument("what", choices=["saga", "outbox"], help="what is measured")
        parser.add_argument("--against", choices=["celery"], default="celery")
        parser.add_argument("--sagas", type=int, default=400, help="sagas in a block (400)")
        parser.add_argument("--rounds", type=int, default=4, help="paired rounds (4)")
        parser.add_argument("--singles", type=int, default=40, help="sagas for the latency (40)")
        parser.add_argument("--warm-up", type=int, default=50, help="sagas before the rounds (50)")
        parser.add_argument(
            "--steps", choices=["raw", "orm"], default="raw", help="how the writes are made (raw)"
        )
        parser.add_argument(
            "--only", choices=["succeeding", "failing"], help="measure one of the two kinds"
        )
        parser.add_argument(
            "--stored",
            type=int,
            default=0,
            help="finished and sleeping sagas, as many of each, that lie beside the measured (0)",
        )
        parser.add_argument("--events", type=int, default=20_000, help="waiting events (20000)")
        parser.add_argument(
            "--waiting", type=int, default=10_000, help="events beside fresh ones (10000)"
        )
        parser.add_argument("--soak", type=int, default=0, help="so many events through the tables")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """Start the processes, measure, print."""
        names = ("sagas", "rounds", "singles", "warm_up", "events", "waiting")
        if min(options[name] for name in names) < 1:
            raise CommandError("every number has to be at least 1", returncode=2)
        if options["stored"] < 0 or (options["stored"] and "DATABASE_URL" in os.environ):
            raise CommandError("--stored fills servers of its own only", returncode=2)
        if options["what"] == "outbox" and "DATABASE_URL" in os.environ:
            raise CommandError("the outbox is measured on servers of its own only", returncode=2)
        if settings.SETTINGS_MODULE != SETTINGS:
            _begin_again()
        began = time.monotonic()
        self.own = "DATABASE_URL" not in os.environ
        self.began = began
        document = self._measured(options)
        document["seconds"] = round(time.monotonic() - began, 1)
        if options["json"]:
            self.stdout.write(json.dumps(document))
        else:
            self._show(document)

    def _measured(self, options: dict[str, Any]) -> dict[str, Any]:
        from config.bench import outbox
        from config.bench.outcome import Wrong
        from config.bench.sides import NotStarted, Sides

        sides = Sides()
        if self.own and not settings.EMBEDDED.lock():
            raise CommandError("another benchmark is under way: wait until it has ended")
        try:
            self._prepare()
            if options["what"] == "outbox":
                return outbox.run(options, self._say)
            if options["stored"]:
                self._store(options["stored"])
            self._say("starting both workers and beat")
            sides.start()
            return self._run(sides, options)
        except (Wrong, NotStarted) as wrong:
            raise CommandError(str(wrong)) from None
        finally:
            sides.stop()
            self._clean_up()

    def _prepare(self) -> None:
        from config.bench import effects

        self._say("preparing the servers")
        settings.EMBEDDED.start(postgres=self.own, redis="REDIS_URL" not in os.environ)
        call_command("migrate", verbosity=0, interactive=False)
        self._refuse_a_system_at_work()
        effects.make_tables()

    def _store(self, count: int) -> None:
        from config.bench import stored

        self._say(f"storing {count} finished and {count} sleeping sagas")
        stored.store(count)
        if stored.counted() != (count, count):
            raise CommandError(f"stored {stored.counted()} sagas instead of {count} of each")

    def _refuse_a_system_at_work(self) -> None:
        """Measure alone: what others do here would be counted, and our workers would do it."""
        from sagas.models import SagaInstance
        from sagas.orchestration import canvas

        if self.own:
            _empty_the_engines_tables()
        if "REDIS_URL" not in os.environ:
            with redis.Redis.from_url(settings.REDIS_URL) as client:
                client.flushall()  # ticks that the last run has not taken
        unfinished = SagaInstance.objects.filter(finished_at=None).count()
        waiting = sum(canvas.depth(queue.name) for queue in settings.CELERY_TASK_QUEUES)
        if unfinished or waiting:
            raise CommandError(
                f"{unfinished} sagas are unfinished and {waiting} messages wait on these servers: "
                "measure on others, or without DATABASE_URL and REDIS_URL"
            )

    def _run(self, sides: Any, options: dict[str, Any]) -> dict[str, Any]:
        from config.bench import machine, report
        from config.bench.measuring import Measuring
        from config.bench.sides import CHILDREN, Kind

        found: dict[str, dict[str, Any]] = {}
        for failing in (False, True):
            if options["only"] == ("succeeding" if failing else "failing"):
                continue
            kind = Kind(orm=options["steps"] == "orm", failing=failing)
            measuring = Measuring(sides, kind, self._say)
            measured = measuring.run(
                sagas=options["sagas"] // 2 or 1 if failing else options["sagas"],
                rounds=options["rounds"],
                singles=options["singles"],
                warm_up=options["warm_up"],
            )
            found["failing" if failing else "succeeding"] = report.figures(measured)
        server = machine.server_settings()
        conditions = {
            "verified": True,
            "durable": server["fsync"] == "on" and server["synchronous_commit"] == "on",
            "steps": options["steps"],
            "sagas": options["sagas"],
            "rounds": options["rounds"],
            "stored": options["stored"],
            "queues": settings.STEP_QUEUES,
            "pool_processes": CHILDREN,
            "server": server,
            "processors": os.cpu_count(),
            "load": [round(value, 2) for value in os.getloadavg()],
        }
        return {**found.pop("succeeding", {}), **found, **conditions}

    def _clean_up(self) -> None:
        from django.db import DatabaseError

        from config.bench import effects

        try:
            effects.drop_tables()
        except DatabaseError as error:
            self.stderr.write(f"the benchmark's tables could not be dropped: {error}")
        connection.close()
        if self.own:
            settings.EMBEDDED.stop()

    def _show(self, document: dict[str, Any]) -> None:
        from config.bench import outbox
        from config.bench.report import table

        if "server" in document and "sagas" not in document:
            self.stdout.write(outbox.table(document))
        if "ours" in document:
            self.stdout.write(table("Four steps", document))
        if "failing" in document:
            title = "Fourth step rejected, three compensations"
            self.stdout.write(table(title, document["failing"]))
        self.stdout.write(
            f"\n{document['rounds']} rounds, {_what(document)}, "
            f"durable commits: {'yes' if document['durable'] else 'NO'}, "
            f"PostgreSQL {document['server']['server_version']}, "
            f"{document['processors']} processors, load {document['load'][0]:g}; "
            f"everything verified; {document['seconds']:g} s. `--help` explains the figures."
        )

    def _say(self, line: str) -> None:
        seconds = time.monotonic() - self.began
        if sys.stderr.isatty():
            self.stderr.write(f"\r\033[K[{seconds:5.1f} s] {line}", ending="")
        else:
            self.stderr.write(f"[{seconds:5.1f} s] {line}")


def _what(document: dict[str, Any]) -> str:
    if "steps" in document:
        return f"steps: {document['steps']}"
    return f"events: {document.get('soak', document)['events']}"


def _begin_again() -> None:
    """Run this command once more under the benchmark's settings and on its own servers."""
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    for name, value in PRODUCTION.items():
        os.environ.setdefault(name, value)
    if "DATABASE_URL" not in os.environ:
        os.environ["EMBEDDED_INSTANCE"] = INSTANCE
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606 - this very command


def _empty_the_engines_tables() -> None:
    tables = ["sagas_saga", "sagas_steprun", "sagas_stepfault"]
    tables += [f"{context}_barrier" for context in settings.CONTEXTS]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE " + ", ".join(tables))
