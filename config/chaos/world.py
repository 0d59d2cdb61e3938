"""The product's processes: started from its own list, started again when they die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from config.binaries import ROOT
from config.chaos.servers import Servers
from config.embedded import die_with_parent

LOOK_EVERY: Final = 0.1
GRACE: Final = 60.0


@dataclass(kw_only=True, eq=False)
class Managed:
    """One process of the product."""

    name: str
    kind: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    wanted: bool = True
    process: subprocess.Popen[bytes] | None = None
    expected: bool = False
    """Whether its next end is a fault of ours."""
    deaths: int = 0
    quick: int = 0
    started: float = 0.0
    from_byte: int = 0
    """Where in the log the present process began to write."""

    @property
    def pid(self) -> int:
        """Return its process id; its children are in its group."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Return whether it runs."""
        return self.process is not None and self.process.poll() is None

    def children(self) -> list[psutil.Process]:
        """Return the processes below it."""
        try:
            return list(psutil.Process(self.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def written(self) -> str:
        """Return what the present process has written."""
        with self.log.open("rb") as log:
            log.seek(self.from_byte)
            return log.read().decode(errors="replace")

    def signal_group(self, number: int) -> None:
        """Send a signal to it and to all below it."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def kill(self) -> None:
        """End it and all below it at once, on purpose."""
        self.expected = True
        self.signal_group(signal.SIGKILL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """A process that ended though nobody meant it to."""

    name: str
    code: int
    at: float
    tail: str


@dataclass(eq=False)
class World:
    """Keeps the servers and the processes alive, from one thread that lives as long as they do.

    From one thread, since a child is told to die with the thread that started it.
    """

    servers: Servers
    managed: list[Managed] = field(default_factory=list)
    unexpected: list[Death] = field(default_factory=list)
    failure: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start everything that is managed, and watch it."""
        self._thread = threading.Thread(target=self._keep, name="keeper")
        self._thread.start()

    def end(self) -> None:
        """Stop watching, and end every process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for each in self.managed:
            if each.process is not None:
                each.signal_group(signal.SIGCONT)
                each.signal_group(signal.SIGKILL)
                each.process.wait()

    def of(self, kind: str) -> list[Managed]:
        """Return the processes of one kind."""
        return [each for each in self.managed if each.kind == kind]

    def _keep(self) -> None:
        try:
            while not self._stop.is_set():
                self.servers.watch()
                for each in self.managed:
                    self._look_at(each)
                self._stop.wait(LOOK_EVERY)
        except (OSError, SystemExit) as error:
            self.failure = error

    def _look_at(self, each: Managed) -> None:
        if each.alive:
            return
        if each.process is not None:
            self._note_death(each)
        if each.wanted and time.monotonic() - each.started > min(2.0, 0.5 * each.quick):
            self._spawn(each)

    def _note_death(self, each: Managed) -> None:
        assert each.process is not None
        each.deaths += 1
        # What its parent's death has left over would work on beside the next one.
        each.signal_group(signal.SIGCONT)
        if not each.expected:
            tail = each.written()[-1500:]
            code = each.process.returncode
            self.unexpected.append(Death(name=each.name, code=int(code), at=time.time(), tail=tail))
            each.quick += 1
        each.expected = False
        each.process = None

    def _spawn(self, each: Managed) -> None:
        with each.log.open("ab") as output:
            each.from_byte = output.tell()
            each.process = subprocess.Popen(
                [sys.executable, *each.command],
                cwd=ROOT,
                env={**os.environ, **each.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
            )
        each.started = time.monotonic()
