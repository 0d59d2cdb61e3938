"""Messages that come again, and messages that nobody can read."""

import base64
import json
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import redis
from django.conf import settings

from config.chaos.servers import wait_for
from config.chaos.stage import Record, Stage

PREFIX: Final = "concord:"
COPIES: Final = 5
CAPTURE_AT_MOST: Final = 40
READ_WITHIN: Final = 20.0
RUBBISH: Final = {
    "not_json": b"{not json at all",
    "no_object": b"[1, 2]",
    "no_properties": b'{"body": "e30=", "headers": {}}',
    "no_base64": (
        b'{"body": "abc", "headers": {"task": "x"}, "properties": {"delivery_tag": "1",'
        b' "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": ""}}}'
    ),
}
SETTLE: Final = 3.0
"""Seconds in which a worker that cannot stand a message has ended."""
NOBODY: Final = str(UUID(int=0))


def deliver_again(stage: Stage, record: Record) -> None:
    """Listen to what is published, and publish it again, five times and shuffled."""
    with stage.servers.broker(patience=1.0) as client:
        captured = _capture(client, record.injection.seconds)
        record.facts["captured"] = len(captured) > 0
        record.notes["captured"] = len(captured)
        stage.strike(record)
        copies = captured * COPIES
        random.Random(record.injection.victim).shuffle(copies)
        for queue, message in copies:
            client.lpush(queue, message)
        record.healed = time.time()
        record.facts["consumed"] = _read(client, captured)


def _capture(client: Any, seconds: float) -> list[tuple[str, bytes]]:
    """Read what is sent to the queues from the broker's own monitor."""
    names = {f"{PREFIX}{queue.name}".encode() for queue in settings.CELERY_TASK_QUEUES}
    found: list[tuple[str, bytes]] = []
    until = time.monotonic() + seconds
    with client.monitor() as monitor:
        while time.monotonic() < until and len(found) < CAPTURE_AT_MOST:
            try:
                # By itself the client hangs up after a quiet second, and has nothing to read from.
                line = monitor.connection.read_response(
                    disable_decoding=True, disconnect_on_error=False
                )
            except redis.exceptions.TimeoutError:
                continue
            words = arguments(line)
            if len(words) == 3 and words[0].upper() == b"LPUSH" and words[1] in names:
                found.append((words[1].decode(), words[2]))
    return found


def arguments(line: bytes) -> list[bytes]:
    """Read the quoted arguments of a line of MONITOR."""
    words = []
    rest = line.partition(b'] "')[2]
    while rest:
        word = bytearray()
        position = 0
        while rest[position : position + 1] not in {b'"', b""}:
            if rest[position : position + 1] == b"\\":
                position += 1
            word += rest[position : position + 1]
            position += 1
        words.append(bytes(word))
        rest = rest[position + 1 :].partition(b'"')[2]
    return words


def unreadable(stage: Stage, record: Record) -> None:
    """Put a message into each queue that is broken in one way."""
    queues = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    deaths = {each.name: each.deaths for each in stage.world.of("worker")}
    others = set(deaths)
    with stage.servers.broker() as client:
        stage.strike(record)
        sent = [(f"{PREFIX}{queue}", broken(record.injection.way, queue)) for queue in queues]
        for queue, rubbish in sent:
            client.lpush(queue, rubbish)
        record.healed = time.time()
        record.facts["consumed"] = _read(client, sent)
    stage.over.wait(SETTLE)
    died = {death.name for death in stage.world.unexpected if death.at >= record.began}
    record.notes["died"] = sorted(died & others)
    record.facts["workers_live"] = not (died & others)


def broken(way: str, queue: str) -> bytes:
    """Make a message that is broken in one way."""
    if way in RUBBISH:
        return RUBBISH[way]
    task = "no.such_task" if way == "unknown_task" else "sagas.continue_saga"
    payload: list[Any] = ["not a uuid", 1, 2] if way == "wrong_arguments" else [NOBODY]
    return message(task, payload, queue)


def message(task: str, payload: list[Any], queue: str) -> bytes:
    """Write a message as Celery does."""
    body = json.dumps([payload, {}, {"callbacks": None, "errbacks": None, "chain": None}])
    number = f"chaos-{time.monotonic_ns()}"
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": number,
                "root_id": number,
                "parent_id": None,
                "group": None,
                "retries": 0,
                "argsrepr": "",
                "kwargsrepr": "",
            },
            "properties": {
                "correlation_id": number,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": number,
            },
        }
    ).encode()


def _read(client: redis.Redis, sent: Sequence[tuple[str, bytes]]) -> bool:
    """Wait until none of the messages lies in its queue any more."""

    def is_read(queue: str, content: bytes) -> bool:
        try:
            return client.lpos(queue, content.decode()) is None
        except redis.exceptions.RedisError:
            return False

    deadline = time.monotonic() + READ_WITHIN
    return all(
        wait_for(partial(is_read, queue, content), deadline - time.monotonic(), 0.05)
        for queue, content in sent
    )
