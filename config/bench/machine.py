"""What a block of work cost the machine: CPU by part, transactions, bytes of write-ahead log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psutil
import redis
from django.conf import settings
from django.db import connection

POSTGRESQL: Final = "postgresql"
VALKEY: Final = "valkey"
DRIVER: Final = "driver"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The counters of the machine at one moment."""

    seconds: Mapping[str, float]
    """CPU, user and system, of each part since it was started."""
    transactions: int
    wal_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """The difference of two readings."""

    seconds: Mapping[str, float]
    transactions: int
    wal_bytes: int


def cost(before: Reading, after: Reading) -> Cost:
    """Subtract one reading from a later one."""
    return Cost(
        seconds={part: after.seconds[part] - before.seconds[part] for part in before.seconds},
        transactions=after.transactions - before.transactions,
        wal_bytes=after.wal_bytes - before.wal_bytes,
    )


class Meter:
    """Reads the counters of some processes with their children, and of the two servers."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """Take the processes to count, by part; both servers are found by asking them."""
        self.processes = dict(processes)
        postmaster = _postmaster()
        if postmaster is not None:
            self.processes[POSTGRESQL] = postmaster
        self.counts_postgresql = postmaster is not None
        self.redis = redis.Redis.from_url(settings.REDIS_URL)

    def read(self) -> Reading:
        """Read everything once."""
        seconds = {part: cpu_seconds(pid) for part, pid in self.processes.items()}
        usage = self.redis.info("cpu")
        seconds[VALKEY] = float(usage["used_cpu_user"]) + float(usage["used_cpu_sys"])
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,"
                " pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
            )
            transactions, wal = cursor.fetchone()
        return Reading(seconds=seconds, transactions=int(transactions), wal_bytes=int(wal))


def cpu_seconds(pid: int) -> float:
    """Return the CPU of a process and of all its children, also of those that have ended.

    A child that ends hands its counters to its parent, so the sum over the living ones of "own
    and waited-for" never loses anything, nor counts it twice.
    """
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _postmaster() -> int | None:
    """Find the server's main process; None where it does not run on this machine."""
    host = str(connection.settings_dict["HOST"])
    if not (host.startswith("/") or host in {"", "localhost", "127.0.0.1", "::1"}):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = int(cursor.fetchone()[0])
    try:
        process = psutil.Process(backend)
        parent = process.parent()
    except psutil.NoSuchProcess:
        return None
    return parent.pid if parent and "postgres" in process.name() else None


def server_settings() -> dict[str, str]:
    """Return what decides whether a commit is durable."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
    found = {}
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute("SELECT current_setting(%s)", [name])
            found[name] = str(cursor.fetchone()[0])
    return found
