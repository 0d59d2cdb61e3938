"""Real processes on the test database: workers, beat, web, provider. And waiting, without sleeps.

processes.worker(failpoints="step.committed=kill:1")
eventually(lambda: order_status() == "confirmed", 20, "the order is confirmed")
"""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection, connections

from config import processes
from config.database import with_name
from config.embedded import die_with_parent
from config.queues import all_queues

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
WEB_URL = os.environ["TEST_WEB_URL"]


def eventually(condition: Callable[[], T], timeout: float = 20, why: str = "the condition") -> T:
    """Wait until the condition is true and return it; else fail, saying what was seen last."""
    deadline = time.monotonic() + timeout
    while not (seen := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{why}: not within {timeout} s, last seen {seen!r}")
        threading.Event().wait(0.05)
    return seen


@dataclass(eq=False)
class Running:
    """One process that was started for a test."""

    name: str
    process: subprocess.Popen
    log: Path

    @property
    def pid(self) -> int:
        """The process itself; its children are in its process group."""
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and all its children."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


class Processes:
    """Starts processes as `up` does, for one test, and ends them all after it."""

    def __init__(self) -> None:
        self.started: list[Running] = []

    def worker(
        self,
        queues: Sequence[str] | None = None,
        failpoints: str = "",
        env: Mapping[str, str] | None = None,
        concurrency: int = 2,
        ready: bool = True,
    ) -> Running:
        """Start `celery -A config worker` and wait until it consumes (unless ready=False)."""
        own = queues or all_queues(settings.STEP_QUEUES, settings.CONTEXTS)
        process = processes.worker(own)
        command = [*process.command, "-c", str(concurrency), "-n", f"w{len(self.started)}@%h"]
        running = self._start("worker", command, {**_failing(failpoints), **(env or {})})
        if ready:
            self.await_output(running, "ready.", 30)
        return running

    def beat(self, env: Mapping[str, str] | None = None) -> Running:
        """Start beat with a schedule file of its own."""
        file = settings.EMBEDDED.dir / f"beat-{os.getpid()}-{len(self.started)}"
        command = processes.fill_in(processes.BEAT.command, {"BEAT_SCHEDULE_FILE": str(file)})
        return self._start("beat", command, env or {})

    def web(self, failpoints: str = "", env: Mapping[str, str] | None = None) -> Running:
        """Start the web server at WEB_URL and wait until it is ready."""
        port = str(urlsplit(WEB_URL).port)
        command = processes.fill_in(processes.WEB.command, {"HOST": "127.0.0.1", "PORT": port})
        running = self._start("web", command, {**_failing(failpoints), **(env or {})})
        eventually(lambda: _answers(f"{WEB_URL}/readyz") or not running.alive, 30, "web is ready")
        assert running.alive, running.output()[-3000:]
        return running

    def tail(self, env: Mapping[str, str] | None = None) -> Running:
        """Start `manage.py outbox tail`; what it needs has to be set up."""
        return self._start("tail", processes.TAIL.command, env or {})

    def stream(self, env: Mapping[str, str] | None = None) -> Running:
        """Start `manage.py outbox stream` and wait until it is there."""
        running = self._start("stream", processes.STREAM.command, env or {})
        self.await_output(running, "streaming")
        return running

    def provider(self, env: Mapping[str, str] | None = None) -> Running:
        """Start the simulated provider at settings.PAYMENT_PROVIDER_URL and wait for its answer."""
        url = settings.PAYMENT_PROVIDER_URL
        port = str(urlsplit(url).port)
        command = processes.fill_in(processes.PROVIDER.command, {"PROVIDER_PORT": port})
        own = processes.simulator_environment(
            database_url=test_database_url(),
            site=WEB_URL,
            key=settings.PAYMENT_PROVIDER_KEY,
            secrets=settings.WEBHOOK_SECRETS,
        )
        quick = {"SIMULATOR_WEBHOOK_DELAYS": "0.5,1,2,5", "SIMULATOR_HANG_SECONDS": "3"}
        running = self._start("provider", command, {**own, **quick, **(env or {})})
        eventually(
            lambda: _answers(f"{url}/v1/balance") or not running.alive, 30, "the provider answers"
        )
        assert running.alive, running.output()[-3000:]
        return running

    def kill(self, running: Running) -> None:
        """kill -9 the process and all its children, and wait until they are gone."""
        running.signal_group(signal.SIGKILL)
        running.process.wait(10)

    def freeze(self, running: Running) -> None:
        """Stop the process and its children where they are (SIGSTOP)."""
        running.signal_group(signal.SIGSTOP)

    def thaw(self, running: Running) -> None:
        """Let them go on (SIGCONT)."""
        running.signal_group(signal.SIGCONT)

    def stop(self, running: Running, timeout: float = 30) -> int:
        """Stop it in the ordinary way and return its exit code."""
        running.process.terminate()
        return running.process.wait(timeout)

    def stop_all(self) -> None:
        """End everything that this test has started."""
        for running in self.started:
            self.kill(running)

    def await_output(self, running: Running, text: str, timeout: float = 30) -> None:
        """Wait until the process has written the text."""
        eventually(
            lambda: text in running.output() or not running.alive,
            timeout,
            f"{running.name} writes {text!r}",
        )
        assert text in running.output(), f"{running.name} ended:\n{running.output()[-3000:]}"

    def _start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Running:
        log = settings.EMBEDDED.dir / "logs" / f"{len(self.started)}-{name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={**os.environ, **process_environment(), **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509
            )
        running = Running(name, process, log)
        self.started.append(running)
        return running


def process_environment() -> dict[str, str]:
    """What a process needs to work on this run's database, broker and provider."""
    return {
        "DATABASE_URL": test_database_url(),
        **{
            f"{own.upper()}_DATABASE_URL": with_name(url, connections[own].settings_dict["NAME"])
            for own, url in settings.CONTEXT_URLS.items()
        },
        "REDIS_URL": settings.REDIS_URL,
        "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
        "CONTEXT_ROLES": "1" if settings.CONTEXT_ROLES else "0",
        "STEP_QUEUES": settings.STEP_QUEUES,
        "PYTHONUNBUFFERED": "1",
        "REMAP_SIGTERM": "SIGQUIT",
        # Tests break things on purpose: warnings of the processes are not errors.
        "PYTHONWARNINGS": "default",
    }


def test_database_url() -> str:
    """The address of the database that the tests run on."""
    return with_name(settings.DATABASE_URL, connection.settings_dict["NAME"])


test_database_url.__test__ = False


def _failing(failpoints: str) -> dict[str, str]:
    return {"CONCORD_FAILPOINTS": failpoints} if failpoints else {}


def _answers(url: str) -> bool:
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {settings.PAYMENT_PROVIDER_KEY}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2):
            return True
    except OSError:
        return False
