import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import psutil
import pytest

from config.embedded import Embedded
from tests.processes import eventually

ROOT = Path(__file__).parents[3]


class Up:
    """`manage.py up` on an instance of its own."""

    def __init__(self, instance, port, *arguments, **environment):
        self.port = port
        command = [sys.executable, "manage.py", "up", "--port", str(port), *arguments]
        base = {k: v for k, v in os.environ.items() if not k.startswith("PAYMENT_PROVIDER")}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**base, "EMBEDDED_INSTANCE": instance, "LOG_FORMAT": "human", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip("\n"))

    def ends(self):
        """Wait until it has ended and its last line is read; its exit code."""
        code = self.process.wait(60)
        self.reader.join(30)
        return code

    def says(self, pattern, timeout=60):
        def said():
            ended = f"ended with {self.ends()}" if self.process.poll() is not None else ""
            return next((line for line in self.lines if re.search(pattern, line)), ended)

        seen = eventually(said, timeout, f"up says {pattern!r}")
        assert re.search(pattern, seen), "\n".join([seen, *self.lines[-40:]])
        return seen

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def names(self):
        """Return what runs, without what has ended since it was looked for."""
        found = set()
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(process.name())
        return found

    def child(self, *words):
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if all(word in process.cmdline() for word in words):
                    return process
        return None


@pytest.fixture
def instance():
    name = f"up{os.getpid()}"
    yield name
    shutil.rmtree(Embedded(name).dir, ignore_errors=True)


@pytest.fixture
def port():
    while True:
        with socket.socket() as probe, socket.socket() as provider:
            probe.bind(("127.0.0.1", 0))
            number = probe.getsockname()[1]
            try:
                provider.bind(("127.0.0.1", number + 100))
            except (OSError, OverflowError):
                continue
            return number


@pytest.fixture
def up(instance, port):
    started = []

    def start(*arguments, **environment):
        started.append(Up(instance, port, *arguments, **environment))
        return started[-1]

    yield start
    for each in started:
        family = each.family() if each.process.poll() is None else []
        for process in [*family, each.process]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        each.process.wait()


def gone(processes):
    return not any(map(lives, processes))


def lives(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(180)
def test_up_is_ready_replaces_a_killed_worker_and_leaves_nothing_behind(up, port):
    run = up("--no-demo")

    run.says(f"^ready http://127.0.0.1:{port}/$")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        assert answer.status == 200

    family = run.family()
    assert run.names() >= {"postgres"}
    eventually(lambda: run.child("celery", "worker"), 30, "a worker").kill()
    run.says("worker ended with -9, starting it again")
    eventually(lambda: run.child("celery", "worker"), 30, "another worker")

    family += run.family()
    os.kill(run.process.pid, signal.SIGINT)

    assert run.ends() == 0
    assert run.lines[-1].startswith("up       | stopped")
    assert gone(family)


@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal")
def test_a_killed_supervisor_leaves_nothing_running_and_the_next_one_starts(up, port):
    run = up("--no-demo")
    run.says("^ready http")
    family = run.family()

    run.process.kill()
    run.process.wait()

    eventually(lambda: gone(family), 30, "all children are gone")
    again = up("--no-demo")
    again.says("^ready http")
    os.kill(again.process.pid, signal.SIGINT)
    assert again.ends() == 0


@pytest.mark.timeout(180)
def test_servers_that_are_named_in_the_environment_are_used_and_left_running(up, instance):
    named = Embedded(f"{instance}-named")
    assert named.lock()
    named.start(fast=True)
    addresses = {
        "DATABASE_URL": named.database_url,
        "REDIS_URL": named.redis_url,
        "CONTEXT_DATABASES": "shared",  # whoever names a server makes its databases
    }

    run = up("--no-demo", **addresses)
    run.says("^ready http")
    own = run.names()
    os.kill(run.process.pid, signal.SIGINT)

    assert run.ends() == 0
    assert "postgres" not in own
    assert named.ended() == []
    named.stop()
    shutil.rmtree(named.dir)


def test_a_port_in_use_is_said_before_anything_is_started(up, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        run = up("--no-demo")

        said = run.says("cannot be used")

    assert f"port {port} cannot be used" in said
    assert "choose another with --port N" in said
    assert run.ends() == 1


def test_a_second_up_in_one_checkout_says_that_one_is_running(up, instance):
    embedded = Embedded(instance)
    assert embedded.lock()

    run = up("--no-demo")

    run.says("`manage.py up` is already running in this checkout: stop it with Ctrl-C there")
    assert run.ends() == 1
    embedded.stop()


def test_no_worker_at_all_is_refused(up):
    run = up("--workers", "0")

    run.says("--workers has to be at least 1")
    assert run.ends() == 1


def test_servers_that_do_not_start_are_reported_with_the_remedy(up):
    run = up("--no-demo", PG_BIN="/nowhere")

    run.says("/nowhere")
    assert run.ends() == 1
