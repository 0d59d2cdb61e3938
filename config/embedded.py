"""PostgreSQL and Valkey run from their wheels, on unix sockets, under var/<instance>/.

Used only where DATABASE_URL or REDIS_URL name no other servers. The socket paths follow from
the checkout and the name of the instance ("dev", "test0", ...), so every process of this
checkout finds the servers without a state file, and no two of them can meet on a port.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from config.binaries import demoted, postgres_binaries, state_dir, valkey_binary

DATABASE: Final = "concord"
# A unix socket's path holds 107 bytes (103 on macOS), and the longest name in it has 15.
LONGEST_RUN_PATH: Final = 85
PG_SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "200",  # in the detached mode a thread has four
    "shared_buffers": "64MB",
    "wal_level": "logical",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
# For tests alone: a crash of the machine may lose the data, a crash of the server may not.
FAST: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
RECOVERY: Final = 300.0
"""Seconds that a PostgreSQL which was killed may take to read its log again."""
LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(sig: int) -> Callable[[], None] | None:
    """Give a preexec_fn: on Linux the child gets the signal when this process dies, however."""
    libc = LIBC
    return (lambda: libc.prctl(1, sig)) if libc else None


class Embedded:
    """The two servers of one instance: where they are, and how they are started and stopped."""

    def __init__(self, instance: str | None = None) -> None:
        """Compute the addresses; nothing is touched before `lock`."""
        self.dir = state_dir() / (instance or os.environ.get("EMBEDDED_INSTANCE", "dev"))
        self.run = self.dir / "run"
        if len(str(self.run)) > LONGEST_RUN_PATH:
            digest = hashlib.sha256(bytes(self.run)).hexdigest()[:12]
            self.run = Path(tempfile.gettempdir()) / f"run-{os.geteuid()}-{digest}"
        socket = quote(str(self.run / "redis.sock"))
        self.database_url = f"postgresql://{DATABASE}@/{DATABASE}?host={quote(str(self.run))}"
        self.redis_url = f"unix://{socket}?db=1"
        self.broker_url = f"redis+socket://{socket}?virtual_host=0"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock: IO[str] | None = None

    def lock(self) -> bool:
        """Become the one process that runs these servers; False where another one does."""
        for path in (self.dir, self.run):
            path.mkdir(parents=True, exist_ok=True)
            if path.stat().st_uid not in {os.geteuid(), *(demoted() or ())}:
                raise SystemExit(f"{path} belongs to another user: remove it, or run as that user")
            path.chmod(0o700)  # connections are trusted: the directory is what keeps others out
        self._lock = (self.dir / "lock").open("a")  # the kernel drops it however we die
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            return False
        return True

    def start(self, *, postgres: bool = True, redis: bool = True, fast: bool = False) -> None:
        """Start the servers, or take over those that a killed run has left behind."""
        if redis and not self._redis_ready():
            self._start_valkey(fast=fast)
        if postgres:
            self._start_postgres(fast=fast)

    def stop(self) -> None:
        """Stop PostgreSQL by SIGINT, its fast way, and Valkey by SHUTDOWN; also taken-over ones."""
        for pidfile in self.dir.glob("pg*/postmaster.pid"):
            _signal(int(pidfile.read_text().split()[0]), signal.SIGINT)
        self._shut_down_redis()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        _until(lambda: not list(self.dir.glob("pg*/postmaster.pid")), 15)
        self.processes.clear()
        if self._lock:
            self._lock.close()

    def ended(self) -> list[str]:
        """Name the servers of ours that have died."""
        return [name for name, p in self.processes.items() if p.poll() is not None]

    def create_database(self, name: str) -> None:
        """Create a database on the embedded server unless it is there."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(
            host=str(self.run), user=DATABASE, dbname="postgres", autocommit=True
        ) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if found.fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    # -- PostgreSQL ----------------------------------------------------------------------------

    def _start_postgres(self, *, fast: bool) -> None:
        binaries = postgres_binaries()
        version = subprocess.check_output([binaries / "postgres", "--version"], text=True)
        major = int(version.split()[2].split(".")[0])
        data = self.dir / f"pg{major}"  # a data directory belongs to one major version
        identity = self._identity()
        if not (data / "PG_VERSION").exists():
            self._initdb(binaries, data, major, identity, fast=fast)
        options = PG_SETTINGS | {"unix_socket_directories": str(self.run)} | (FAST if fast else {})
        command = [str(binaries / "postgres"), "-D", str(data)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + 30
        while not self._postgres_ready():
            process = self.processes.get("postgres")
            # A restart right after kill -9 can fail for two seconds with "pre-existing shared
            # memory block is still in use": the old children have not gone yet. So: again.
            if process is None or process.poll() is not None:
                _pause(0.3 if process else 0)
                process = self._spawn("postgres", signal.SIGINT, command, **identity)
            # One that lives reads its log after a crash, which takes as long as it takes.
            if time.monotonic() > deadline + (RECOVERY if process.poll() is None else 0):
                raise SystemExit(self._not_started("PostgreSQL", "postgres"))
            _pause(0.03)
        self.create_database(DATABASE)

    def _identity(self) -> dict[str, Any]:
        """Say as whom and in which environment PostgreSQL runs."""
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        who = demoted()
        if who is None:
            return {"env": env}
        for path in (self.dir, self.run):
            os.chown(path, *who)
        return {"env": env, "user": who[0], "group": who[1], "extra_groups": []}

    def _initdb(
        self, binaries: Path, data: Path, major: int, identity: Mapping[str, Any], *, fast: bool
    ) -> None:
        """Make the data directory; it gets its name when it is whole."""
        fresh = self.dir / "pg.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [str(binaries / "initdb"), "-D", str(fresh), "-U", DATABASE, "-E", "UTF8"]
        command += ["-A", "trust", "--no-instructions", *(["--no-sync"] if fast else [])]
        # The wheels have no ICU. Without a locale provider upper('é') would do nothing.
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += builtin if major > 16 else ["--locale=C.UTF-8"]
        done = subprocess.run(
            command, cwd=self.dir, capture_output=True, text=True, check=False, **identity
        )
        if done.returncode:
            raise SystemExit(
                f"PostgreSQL's initdb failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}\n"
                "Set DATABASE_URL to use another PostgreSQL, or PG_BIN to use other binaries"
            )
        fresh.rename(data)

    def _postgres_ready(self) -> bool:
        import psycopg

        try:
            psycopg.connect(host=str(self.run), user=DATABASE, dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    # -- Valkey, which speaks Redis 7 ----------------------------------------------------------

    def _start_valkey(self, *, fast: bool) -> None:
        binary = os.environ.get("REDIS_SERVER") or valkey_binary()
        command = [binary, "--port", "0", "--unixsocket", str(self.run / "redis.sock")]
        command += ["--unixsocketperm", "700", "--dir", str(self.dir), "--save", ""]
        command += ["--appendonly", "no" if fast else "yes", "--maxmemory-policy", "noeviction"]
        process = self._spawn("valkey", signal.SIGTERM, command)
        _until(lambda: self._redis_ready() or process.poll() is not None, 15)
        if not self._redis_ready():
            raise SystemExit(self._not_started("Valkey", "valkey"))

    def _redis_ready(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.redis_url) as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def _shut_down_redis(self) -> None:
        import redis

        if self._redis_ready():
            with redis.Redis.from_url(self.redis_url) as client:
                client.shutdown()

    # -- both ----------------------------------------------------------------------------------

    def _spawn(
        self, name: str, sig: int, command: list[str], **identity: Any
    ) -> subprocess.Popen[bytes]:
        with (self.dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(sig),  # noqa: PLW1509 - one system call
                **identity,
            )
        return self.processes[name]

    def _not_started(self, what: str, name: str) -> str:
        log = self.dir / f"{name}.log"
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
        return f"{what} did not start. The end of {log}:\n{tail}"


def _signal(pid: int, sig: int) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        _pause(0.03)


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)
