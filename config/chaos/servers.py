"""The run's own PostgreSQL and Valkey, and a second PostgreSQL for the provider's world."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import redis
from django.conf import settings

from config.database import database_name
from config.embedded import DATABASE, Embedded

INSTANCE: Final = "chaos"
OF_THE_PROVIDER: Final = "chaosprov"
START_WITHIN: Final = 30.0


class Busy(Exception):
    """Another run is under way in this checkout."""


class Servers:
    """Starts them empty, and starts again what a fault has killed."""

    def __init__(self) -> None:
        """Compute the addresses; nothing is touched yet."""
        self.own = Embedded(INSTANCE)
        self.provider = Embedded(OF_THE_PROVIDER)
        self.broker_wanted = True
        self.database_wanted = True
        self.dump: bytes | None = None
        """What the broker is to start from; nothing: empty."""

    def begin(self) -> None:
        """Start everything empty.

        :raises Busy: if another run has the servers
        """
        for embedded in (self.own, self.provider):
            if not embedded.lock():
                raise Busy(f"another chaos run is under way in this checkout ({embedded.dir})")
            _end_left_over(embedded)
            for data in embedded.dir.glob("pg*"):
                shutil.rmtree(data)
        self._empty_broker()
        self.own.start(redis=False)
        self.own.start(postgres=False, fast=True)  # no append-only file: it begins empty
        self.provider.start(redis=False, fast=True)
        for url in settings.CONTEXT_URLS.values():
            self.own.create_database(database_name(url))

    def end(self) -> None:
        """Stop everything."""
        for embedded in (self.own, self.provider):
            embedded.stop()

    def watch(self) -> None:
        """Start again what has ended and should run."""
        ended = self.own.ended()
        if self.broker_wanted and "valkey" in ended:
            self._empty_broker()
            if self.dump is not None:
                (self.own.dir / "dump.rdb").write_bytes(self.dump)
                self.dump = None
            self.own.start(postgres=False, fast=True)
        if self.database_wanted and "postgres" in ended:
            self.own.start(redis=False)
        if "postgres" in self.provider.ended():
            self.provider.start(redis=False, fast=True)

    def _empty_broker(self) -> None:
        for left in (self.own.dir / "dump.rdb", self.own.dir / "appendonlydir"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)

    def broker(self, *, patience: float = 2.0) -> redis.Redis:
        """Connect to the broker."""
        client: redis.Redis = redis.Redis.from_url(
            self.own.redis_url.replace("db=1", "db=0"),
            socket_timeout=patience,
            socket_connect_timeout=2,
            retry=None,
        )
        return client

    def database(self, name: str = DATABASE) -> psycopg.Connection[tuple[object, ...]]:
        """Connect to a database of the product as its owner, outside of Django."""
        return psycopg.connect(
            host=str(self.own.run),
            user=DATABASE,
            dbname=name,
            autocommit=True,
            application_name=INSTANCE,
            connect_timeout=2,
        )

    def postmaster(self) -> int:
        """Return the process id of the product's PostgreSQL."""
        [file] = self.own.dir.glob("pg*/postmaster.pid")
        return int(file.read_text().split()[0])

    def dump_file(self) -> Path:
        """Return where the broker writes what SAVE saves."""
        return self.own.dir / "dump.rdb"

    def await_database(self, seconds: float = START_WITHIN) -> bool:
        """Wait until the product's PostgreSQL answers."""
        return wait_for(self._database_answers, seconds)

    def await_broker(self, seconds: float = START_WITHIN) -> bool:
        """Wait until the broker answers."""
        return wait_for(self._broker_answers, seconds)

    def _database_answers(self) -> bool:
        try:
            self.database().close()
        except psycopg.OperationalError:
            return False
        return True

    def _broker_answers(self) -> bool:
        try:
            with self.broker() as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False


def _end_left_over(embedded: Embedded) -> None:
    """End the PostgreSQL of a run that was killed; its Valkey has died with it."""
    for file in embedded.dir.glob("pg*/postmaster.pid"):
        try:
            os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)
        except ProcessLookupError:
            continue
        wait_for(partial(_is_gone, file), 15)


def _is_gone(file: Path) -> bool:
    return not file.exists()


def wait_for(condition: Callable[[], object], seconds: float, pause: float = 0.05) -> bool:
    """Wait until the condition holds; False if it did not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(pause)
    return True
