"""Starts child processes, shows what they print, starts again what dies, stops them in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from config.embedded import die_with_parent

QUICK: Final = 10.0
"""A child that lives shorter than this many seconds has died quickly."""
MOST_QUICK_DEATHS: Final = 3
COLORS: Final = (36, 32, 35, 34, 33, 96, 92, 95, 94)
OWN_NAME: Final = "up"


class Output:
    """Writes lines with the name of who said them, in a color of its own on a terminal."""

    def __init__(self) -> None:
        """Decide whether there are colors: not for a file, not with NO_COLOR."""
        self.colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.names: list[str] = []
        self._lock = threading.Lock()

    def say(self, name: str, line: str) -> None:
        """Write one line; also several threads at once never mix theirs."""
        if name not in self.names:
            self.names.append(name)
        tag = f"{name:<9}| "
        if self.colored:
            color = COLORS[self.names.index(name) % len(COLORS)]
            tag = f"\033[{color}m{tag}\033[0m"
        self.write(f"{tag}{line}")

    def write(self, line: str) -> None:
        """Write a line as it is, for programs that wait for it."""
        with self._lock:
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


@dataclass
class Child:
    """One process that is kept alive."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    grace: float = 30
    restarted: bool = True
    process: subprocess.Popen[str] | None = None
    started: float = 0
    quick_deaths: int = field(default=0)

    @property
    def exit_code(self) -> int | None:
        """Return how it ended, or nothing while it runs."""
        return self.process.poll() if self.process else None


class GivingUp(Exception):
    """A child died quickly too often."""


class Supervisor:
    """The children of one `up`, in the order in which they are started; stopped the other way."""

    def __init__(self, output: Output, pid_file: Path) -> None:
        """End what a killed predecessor left behind, then be ready to start children."""
        self.output = output
        self.pid_file = pid_file
        self.children: list[Child] = []
        self.hurry = threading.Event()
        self._end_orphans()

    def start(self, child: Child) -> None:
        """Start a child. From the main thread, or it would die with the thread that started it."""
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that Ctrl-C reaches the supervisor alone
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call
            env={**os.environ, **child.environment, "PYTHONUNBUFFERED": "1"},
        )
        child.started = time.monotonic()
        if child not in self.children:
            self.children.append(child)
        threading.Thread(target=self._show, args=(child.name, child.process), daemon=True).start()
        self._write_pids()

    def watch(self) -> None:
        """Start again what has died.

        :raises GivingUp: if one has died quickly three times
        """
        for child in self.children:
            if child.exit_code is None or not child.restarted:
                continue
            quick = time.monotonic() - child.started < QUICK
            child.quick_deaths = child.quick_deaths + 1 if quick else 1
            if child.quick_deaths >= MOST_QUICK_DEATHS and quick:
                raise GivingUp(
                    f"{child.name} ended with {child.exit_code} for the third time within "
                    f"{QUICK:.0f} s of its start: see its lines above"
                )
            self.output.say(
                OWN_NAME, f"{child.name} ended with {child.exit_code}, starting it again"
            )
            self.start(child)

    def stop(self) -> None:
        """Stop all, last started first, so that nothing new comes in while the rest finishes."""
        for child in reversed(self.children):
            self._stop(child)
        self.children.clear()
        self.pid_file.unlink(missing_ok=True)

    def _stop(self, child: Child) -> None:
        process = child.process
        if process is None or process.poll() is not None:
            return
        process.terminate()  # the process alone, not its group: a worker then drains its pool
        deadline = time.monotonic() + child.grace
        while process.poll() is None:
            if self.hurry.is_set() or time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            threading.Event().wait(0.05)

    def _show(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.output.say(name, line.rstrip())

    def _write_pids(self) -> None:
        lines = []
        for child in self.children:
            if child.process and child.exit_code is None:
                try:
                    created = psutil.Process(child.process.pid).create_time()
                except psutil.NoSuchProcess:
                    continue
                lines.append(f"{child.process.pid} {created}\n")
        self.pid_file.write_text("".join(lines))

    def _end_orphans(self) -> None:
        """End the children of a run that was killed, where the system has not done it (macOS)."""
        if not self.pid_file.exists():
            return
        for line in self.pid_file.read_text().splitlines():
            pid, created = line.split()
            try:
                orphan = psutil.Process(int(pid))
                if abs(orphan.create_time() - float(created)) < 0.01:
                    os.killpg(orphan.pid, signal.SIGKILL)
                    orphan.wait(10)
            except (psutil.Error, ProcessLookupError):
                continue
        self.pid_file.unlink()
