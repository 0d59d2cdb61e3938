"""The two sides: the processes that each runs on, and how a saga is started there."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings

from config import processes
from config.bench import chain, effects
from config.bench.sagas import BENCH, BenchState
from config.embedded import die_with_parent
from config.queues import all_queues
from sagas.api import start, transaction, uuid7
from sagas.models import SagaInstance, StepRun

OURS: Final = "ours"
AGAINST: Final = "against"
SIDES: Final = (OURS, AGAINST)
CHILDREN: Final = 2
"""Pool processes of either worker."""
READY: Final = "ready."


class NotStarted(Exception):
    """A process of the benchmark did not start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What every saga of a block does."""

    orm: bool
    failing: bool


def start_one(side: str, kind: Kind) -> UUID:
    """Start one saga on one side, as a request would."""
    saga_id = uuid7()
    if side == AGAINST:
        chain.start_chain(saga_id, orm=kind.orm, rejected=kind.failing)
        return saga_id
    with transaction("orders"):
        return start(
            BENCH,
            BenchState(orm=kind.orm, rejected=kind.failing),
            key=str(saga_id),
            saga_id=saga_id,
        )


def complaint(side: str, started: Sequence[UUID], *, failing: bool) -> str | None:
    """Say what is wrong with the outcome of a block; None when all of it is right."""
    wrong = effects.complaint(len(started), failing=failing)
    if wrong is not None or side == AGAINST:
        return wrong
    status = "compensated" if failing else "completed"
    rows = SagaInstance.objects.filter(id__in=started, status=status).count()
    # Forward: four done. Back: three done and one rejected, then all four looked at in reverse.
    journal = StepRun.objects.filter(saga_id__in=started).count()
    expected = (len(started), (8 if failing else 4) * len(started))
    if (rows, journal) != expected:
        return f"({status} sagas, journal rows): expected {expected}, found {(rows, journal)}"
    return None


@dataclass(frozen=True, slots=True)
class Running:
    """One process of a side."""

    process: subprocess.Popen[bytes]
    log: Path

    def written(self) -> str:
        """Return what it has written."""
        return self.log.read_text(errors="replace")


class Sides:
    """The processes of both sides; beat is frozen while the other side is measured."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self.running: dict[str, Running] = {}

    def start(self, *, against: bool = True, own: Mapping[str, str] | None = None) -> None:
        """Start both workers and beat, and wait until the workers consume.

        :param against: False = our worker and beat alone
        :param own: further variables of our worker
        :raises NotStarted: if one of them ends, or takes too long
        """
        queues = all_queues(settings.STEP_QUEUES, settings.CONTEXTS)
        ours = processes.worker(queues)
        self._spawn("worker", ours.command, {**dict(ours.environment), **(own or {})})
        if against:
            self._start_chain(ours.command, queues, dict(ours.environment))
        schedule = settings.EMBEDDED.dir / "beat-bench"
        beat = processes.fill_in(processes.BEAT.command, {"BEAT_SCHEDULE_FILE": str(schedule)})
        self._spawn("beat", beat, {})
        for name in ("worker", "chain") if against else ("worker",):
            self._await(self.running[name], name, READY)

    def stream(self, own: Mapping[str, str]) -> None:
        """Start a process that feeds the stream, and wait until it does.

        :param own: further variables of it
        :raises NotStarted: if it ends, or takes too long
        """
        self._spawn("stream", processes.STREAM.command, own)
        self._await(self.running["stream"], "stream", "streaming")

    def _start_chain(
        self, command: Sequence[str], queues: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        bare = [chain.QUEUE if word == ",".join(queues) else word for word in command]
        bare = ["config.bench.chain" if word == "config" else word for word in bare]
        self._spawn("chain", [*bare, "-n", "chain@%h"], environment)

    @contextmanager
    def only(self, side: str) -> Iterator[None]:
        """Keep the ticks of our beat out of the other side's block."""
        beat = self.running["beat"].process
        if side == AGAINST:
            beat.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            beat.send_signal(signal.SIGCONT)

    def processes_of(self, side: str) -> Mapping[str, int]:
        """Return the processes that a side is charged with."""
        names = ("worker", "beat") if side == OURS else ("chain",)
        parts = {"worker": "workers", "chain": "workers", "beat": "beat"}
        return {parts[name]: self.running[name].process.pid for name in names}

    def ended(self) -> str | None:
        """Name a process that has died, with the end of what it wrote."""
        for name, running in self.running.items():
            if running.process.poll() is not None:
                return f"{name} ended: {running.written()[-2000:]}"
        return None

    def stop(self) -> None:
        """End everything; nothing is under way any more."""
        for running in self.running.values():
            if running.process.poll() is None:
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait()
        self.running.clear()

    def _spawn(self, name: str, command: Sequence[str], own: Mapping[str, str]) -> None:
        log = settings.EMBEDDED.dir / "logs" / f"bench-{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **own, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call
            )
        self.running[name] = Running(process, log)

    def _await(self, running: Running, name: str, word: str) -> None:
        deadline = time.monotonic() + 60
        while word not in running.written():
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{name} did not start: {running.written()[-2000:]}")
            threading.Event().wait(0.05)
