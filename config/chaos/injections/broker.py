"""Faults of the broker, which is the Redis of the idempotency keys too."""

import signal
import threading
import time
from typing import Final

import redis

from config.chaos.stage import Record, Stage

SMALL: Final = 1
"""Bytes: less than it uses already, so that every write is refused."""


def kill_broker(stage: Stage, record: Record) -> None:
    """Kill it; it starts empty, or from a dump that was made some time before."""
    servers = stage.servers
    old = record.injection.fault == "F20"
    with servers.broker(patience=10) as client:
        if old:
            client.save()
            servers.dump = servers.dump_file().read_bytes()
            record.notes["messages_in_the_dump"] = client.dbsize()
            stage.over.wait(record.injection.seconds / 2)
        before = client.info("server")["run_id"]
    stage.strike(record)
    servers.broker_wanted = False
    servers.own.processes["valkey"].send_signal(signal.SIGKILL)
    stage.over.wait(min(1.5, record.injection.seconds / 2))
    servers.broker_wanted = True
    servers.await_broker()
    with servers.broker(patience=10) as client:
        information = client.info("server")
        record.facts["restarted"] = information["run_id"] != before
        # What was saved is there again; what an empty one has is younger than it is.
        record.facts["old" if old else "empty"] = servers.dump is None
    record.healed = time.time()


def empty(stage: Stage, record: Record) -> None:
    """Empty it: messages, unacknowledged ones, keys."""
    with stage.servers.broker() as client:
        stage.strike(record)
        before = client.info("keyspace")
        client.flushall()
    record.facts["emptied"] = bool(before)
    record.healed = time.time()


def fill_up(stage: Stage, record: Record) -> None:
    """Let it have no memory left for a while: it refuses every write."""
    with stage.servers.broker(patience=10) as client:
        stage.strike(record)
        client.config_set("maxmemory", SMALL)
        try:
            stage.over.wait(record.injection.seconds)
            record.facts["refused"] = _refuses(client)
        finally:
            client.config_set("maxmemory", 0)
    record.healed = time.time()


def _refuses(client: redis.Redis) -> bool:
    try:
        client.set("chaos", 1)
    except redis.exceptions.OutOfMemoryError:
        return True
    return False


def pause(stage: Stage, record: Record) -> None:
    """Let it answer nobody for a while."""
    seconds = record.injection.seconds
    with stage.servers.broker(patience=seconds + 10) as client:
        stage.strike(record)
        client.execute_command("CLIENT", "PAUSE", int(seconds * 1000), "ALL")
        began = time.monotonic()
        threading.Event().wait(0.05)
        client.ping()
        record.notes["silent_for"] = round(time.monotonic() - began, 2)
        record.facts["silent"] = time.monotonic() - began > 0.7 * seconds
    record.healed = time.time()
