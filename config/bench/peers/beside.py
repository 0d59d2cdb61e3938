"""The other libraries' figures, measured in the same run as ours and on the same servers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, Final
from uuid import UUID

import redis
from django.conf import settings
from django.db import connection

from config.bench.outcome import PATIENCE, Wrong, quantile
from config.bench.peers.transport import STREAM
from config.bench.reader import Reader
from config.embedded import die_with_parent

LIBRARIES: Final = ("django-outbox-pattern", "django-jaiminho")
LOCK: Final = "config/requirements-bench.txt"
ENVIRONMENT: Final = "var/peers"
DATABASE: Final = "bench_peer"
EVENTS: Final = 5000
"""Most events that wait: these libraries take the better part of a minute for so many."""
WARM_UP: Final = 20

MISSING: Final = (
    "not measured: their packages are not here. To get them:"
    f" python3 -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/pip install --require-hashes -r {LOCK}"
)


def interpreter() -> Path | None:
    """Return the Python of the libraries' environment, if somebody has made it."""
    path = Path(settings.BASE_DIR) / ENVIRONMENT / "bin" / "python"
    return path if path.exists() else None


def measure(
    python: Path, *, events: int, singles: int, rate: float, say: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return, for each library, what one relay drains in a second and how late an event is.

    :raises Wrong: if a library's process fails, or has not published every event
    """
    found = {}
    for library in LIBRARIES:
        say(f"{library}: {events} events that wait")
        peer = Peer(python, library)
        with _database():
            figures = peer.drain(events)
            say(f"{library}: {singles} events at {rate:g} a second")
            late = peer.latency(singles, rate)
        figures["p50_ms"], figures["p99_ms"] = quantile(late, 0.5), quantile(late, 0.99)
        found[library] = {name: float(f"{value:.4g}") for name, value in figures.items()}
    return found


@contextmanager
def _database() -> Iterator[None]:
    """Give the library a database of its own beside ours."""
    drop = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
    for statement in (drop, f"CREATE DATABASE {DATABASE}"):
        _execute(statement)
    try:
        yield
    finally:
        _execute(drop)


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


class Peer:
    """One library: its processes, and what they are told."""

    def __init__(self, python: Path, library: str) -> None:
        """Take the Python of its environment and its name."""
        self.python = python
        self.peer = library

    def drain(self, events: int) -> dict[str, float]:
        """Let one relay publish so many waiting events; return its rate and its CPU an event.

        :raises Wrong: if one is missing in the stream or is not marked
        """
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.delete(STREAM)
            found = self._ask("drain", events)
            there = client.xlen(STREAM)
            client.delete(STREAM)
        if there != events or found["left"]:
            raise Wrong(f"{self.peer}: {there} of {events} are there, {found['left']} wait")
        return {
            "per_second": events / found["seconds"],
            "relay_cpu_us": 1e6 * found["cpu"] / events,
        }

    def latency(self, singles: int, rate: float) -> list[float]:
        """Return how many milliseconds after its commit each single event was in the stream.

        :raises Wrong: if one does not come
        """
        with self._relaying(), closing(Reader(STREAM)) as reader:
            reader.start()
            self._await(reader, self._ask("tell", WARM_UP, rate))
            committed = self._ask("tell", singles, rate)
            self._await(reader, committed)
        return [1000 * (reader.seen[UUID(id_)] - at) for id_, at in committed.items()]

    def _await(self, reader: Reader, committed: dict[str, float]) -> None:
        wanted = {UUID(id_) for id_ in committed}
        deadline = time.monotonic() + PATIENCE
        while not wanted <= reader.seen.keys():
            if time.monotonic() > deadline:
                missing = len(wanted - reader.seen.keys())
                raise Wrong(f"{self.peer}: {missing} of {len(wanted)} events did not come")
            Event().wait(0.1)

    @contextmanager
    def _relaying(self) -> Iterator[None]:
        process = subprocess.Popen(
            self._command("relay"),
            env=_environment(),
            stdin=subprocess.PIPE,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
        )
        try:
            with suppress(BrokenPipeError):  # it has ended, so that no event will come
                _tell(process, _database_of_its_own())
            yield
        finally:
            process.kill()
            process.wait()

    def _ask(self, *what: object) -> dict[str, Any]:
        done = subprocess.run(
            self._command(*what),
            env=_environment(),
            input=_database_of_its_own(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Wrong(f"{self.peer}: {done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def _command(self, *what: object) -> Sequence[str]:
        words = [self.peer, *(str(word) for word in what)]
        return [str(self.python), "-m", "config.bench.peers.process", *words]


def _tell(process: subprocess.Popen[str], text: str) -> None:
    if process.stdin is not None:
        with process.stdin as told:
            told.write(text)


def _database_of_its_own() -> str:
    names = ("HOST", "PORT", "USER", "PASSWORD")
    told = {name: connection.settings_dict[name] for name in names}
    return json.dumps({**told, "ENGINE": "django.db.backends.postgresql", "NAME": DATABASE})


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(settings.BASE_DIR),
        "REDIS_URL": settings.REDIS_URL,
    }


def table(document: dict[str, Any]) -> list[str]:
    """Write the libraries' columns for a terminal, or how to get them."""
    found = document["peers"]
    if found is None:
        names = " and ".join(LIBRARIES)
        return ["", f"beside {names}: {MISSING}"]
    title = f"{found['events']} events to a stream"
    lines = ["", f"{title:<34}{'events/s':>10}{'relay us':>9}{'p50 ms':>11}{'p99 ms':>9}"]
    lines += [
        f"{name:<34}{one['per_second']:>10g}{one['relay_cpu_us']:>9g}"
        f"{one['p50_ms']:>11g}{one['p99_ms']:>9g}"
        for name, one in found["libraries"].items()
    ]
    return lines
