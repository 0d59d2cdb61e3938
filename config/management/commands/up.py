"""`manage.py up`: servers, migrations, data, then every process of the product until Ctrl-C."""

import argparse
import io
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any, Final

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from config import processes
from config.database import database_name, with_name
from config.supervisor import OWN_NAME, Child, GivingUp, Output, Supervisor
from sagas.orchestration import versions

HOST: Final = "127.0.0.1"
READY_WITHIN: Final = 60.0
SEED: Final = {"customers": 5, "skus": 12, "operators": True, "if_empty": True}


class Command(BaseCommand):
    """Sets up and runs everything in the foreground."""

    help = "Set up and run everything: PostgreSQL, Valkey, migrations, web, workers, beat, provider"
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the port, the number of workers and whether to place orders."""
        parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
        parser.add_argument("--workers", type=int, default=1, help="worker processes (1)")
        parser.add_argument(
            "--demo",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="place a few orders and show how each ends",
        )
        parser.add_argument("--once", action="store_true", help="stop when the demo has ended")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C; end with 1 where something does not start or keeps dying."""
        self.began = time.monotonic()
        self.output = Output()
        self.stopping = threading.Event()
        self.port: int = options["port"]
        self.provider_port = int(os.environ.get("PROVIDER_PORT", self.port + 100))
        self._refuse_what_cannot_work(options)
        self.supervisor = Supervisor(self.output, settings.EMBEDDED.dir / "pids")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        code = 0
        try:
            self._prepare()
            code = self._run(options)
        except GivingUp as error:
            self._say(str(error))
            code = 1
        finally:
            self._say("stopping")
            self.supervisor.stop()
            settings.EMBEDDED.stop()
            self._say("stopped")
        sys.exit(code)

    def _refuse_what_cannot_work(self, options: dict[str, Any]) -> None:
        if options["workers"] < 1:
            raise CommandError("--workers has to be at least 1")
        if not settings.EMBEDDED.lock():
            raise CommandError(
                "`manage.py up` is already running in this checkout: stop it with Ctrl-C there, "
                "or use another clone"
            )
        for port, remedy in (
            (self.port, "choose another with --port N"),
            (self.provider_port, "choose another with PROVIDER_PORT=N"),
        ):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, port))
                except OSError as error:
                    raise CommandError(f"port {port} cannot be used ({error}): {remedy}") from None

    def _prepare(self) -> None:
        self._say("starting PostgreSQL and Valkey")
        self._start_servers()
        self._say("migrating")
        call_command("migrate", verbosity=0, interactive=False)
        try:
            versions.refuse_unfit()
        except versions.UnfitDefinition as unfit:
            raise GivingUp(str(unfit)) from unfit
        if not settings.DEBUG:
            call_command("collectstatic", verbosity=0, interactive=False)
        if settings.DEBUG:
            self._seed()
        connections.close_all()

    def _seed(self) -> None:
        """Put demo data into an empty database and show how to sign in."""
        self._say("seeding")
        shown = io.StringIO()
        call_command("seed", **SEED, stdout=shown)
        for line in shown.getvalue().splitlines():
            self.output.say("seed", line)

    def _start_servers(self) -> None:
        settings.EMBEDDED.start(
            postgres="DATABASE_URL" not in os.environ,
            redis="REDIS_URL" not in os.environ,
        )
        for url in settings.CONTEXT_URLS.values():
            if url == with_name(settings.EMBEDDED.database_url, database_name(url)):
                settings.EMBEDDED.create_database(database_name(url))

    def _run(self, options: dict[str, Any]) -> int:
        for child in self._children(options["workers"]):
            if not self.stopping.is_set():
                self.supervisor.start(child)
        self._await_ready()
        demo = self._start_demo() if options["demo"] else None
        while not self.stopping.wait(0.2):
            self.supervisor.watch()
            for name in settings.EMBEDDED.ended():
                self._say(f"{name} ended, starting it again")
                self._start_servers()
            if options["once"] and (demo is None or demo.exit_code is not None):
                return demo.exit_code or 0 if demo else 0
        return 0

    def _children(self, workers: int) -> list[Child]:
        site = f"http://{HOST}:{self.port}"
        environment = {
            "PAYMENT_PROVIDER_URL": f"http://{HOST}:{self.provider_port}",
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "human"),
        }
        provider = processes.simulator_environment(
            database_url=settings.DATABASE_URL,
            site=site,
            key=settings.PAYMENT_PROVIDER_KEY,
            secrets=settings.WEBHOOK_SECRETS,
        )
        variables = {
            "HOST": HOST,
            "PORT": str(self.port),
            "PROVIDER_PORT": str(self.provider_port),
            "BEAT_SCHEDULE_FILE": str(settings.EMBEDDED.dir / "beat-schedule"),
        }
        children = []
        for process in processes.processes(settings.STEP_QUEUES, settings.CONTEXTS):
            for number in range(workers if process.name == "worker" else 1):
                name = process.name if workers == 1 else f"{process.name}{number + 1}"
                name = name if process.name == "worker" else process.name
                command = processes.fill_in(process.command, variables)
                command += ["-n", f"{name}@%h"] if process.name == "worker" else []
                own = dict(process.environment) | environment
                own |= provider if process.name == "provider" else {}
                children.append(Child(name, [sys.executable, *command], own, process.grace))
        return children

    def _await_ready(self) -> None:
        """Print the address when the site answers that it is ready, not before."""
        url = f"http://{HOST}:{self.port}/"
        answer = "no answer yet"
        give_up_at = time.monotonic() + READY_WITHIN
        while not self.stopping.is_set():
            self.supervisor.watch()
            try:
                with urllib.request.urlopen(f"{url}readyz", timeout=2):  # noqa: S310
                    self._say("everything runs, Ctrl-C stops it")
                    self.output.write(f"ready {url}")
                    return
            except urllib.error.HTTPError as error:
                answer = error.read().decode(errors="replace").strip()
            except OSError as error:
                answer = str(error)
            if time.monotonic() > give_up_at:
                raise GivingUp(f"not ready within {READY_WITHIN:.0f} s: {answer}")
            self.stopping.wait(0.1)

    def _start_demo(self) -> Child | None:
        if self.stopping.is_set() or "demo" not in get_commands():
            return None
        command = [sys.executable, "manage.py", "demo"]
        site = f"http://{HOST}:{self.port}"
        environment = {
            "CONCORD_SITE": site,
            "PAYMENT_PROVIDER_URL": f"http://{HOST}:{self.provider_port}",
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "human"),
        }
        demo = Child("demo", command, environment, grace=5, restarted=False)
        self.supervisor.start(demo)
        return demo

    def _on_signal(self, *_: object) -> None:
        if self.stopping.is_set():
            self.supervisor.hurry.set()  # a second Ctrl-C does not wait for running steps
        self.stopping.set()

    def _say(self, line: str) -> None:
        self.output.say(OWN_NAME, f"{line} [{time.monotonic() - self.began:.1f} s]")
