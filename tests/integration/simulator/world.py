"""A provider in a process of its own, and a client that speaks plain HTTP with it."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import urllib3
from django.conf import settings

from config.database import with_name

ROOT = Path(__file__).parents[3]
KEY = "key-of-the-tests"
START_LIMIT = 30


@dataclass(kw_only=True)
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def code(self) -> str:
        return self.body["error"]["code"]


@dataclass(kw_only=True)
class Provider:
    url: str
    database_url: str
    process: subprocess.Popen
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=40, retries=False, timeout=10)
    )

    def send(self, method, path, body=None, *, key="", token=KEY, timeout=10, raw=None) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A connection kept for minutes between two tests may be closed just as it is used again.
        headers["Connection"] = "close"
        if key:
            headers["Idempotency-Key"] = key
        if body is not None:
            raw = json.dumps(body).encode()
        got = self.pool.request(method, self.url + path, body=raw, headers=headers, timeout=timeout)
        return Answer(
            status=got.status, body=json.loads(got.data) if got.data else None, headers=got.headers
        )

    def post(self, path, body=None, **options) -> Answer:
        return self.send("POST", path, body, **options)

    def get(self, path, **options) -> Answer:
        return self.send("GET", path, **options)

    def prepare(self, card="card_good", *, amount=1000, reference="order-1", key="", **more):
        body = {
            "amount": amount,
            "currency": "GBP",
            "payment_method": card,
            "reference": reference,
            **more,
        }
        return self.post("/v1/intents", body, key=key)

    def prepared(self, card="card_good", **options) -> str:
        return self.prepare(card, **options).body["id"]

    def authorized(self, card="card_good", **options) -> str:
        ref = self.prepared(card, **options)
        assert self.post(f"/v1/intents/{ref}/confirm").status == 200
        return ref

    def captured(self, card="card_good", **options) -> str:
        ref = self.authorized(card, **options)
        assert self.post(f"/v1/intents/{ref}/capture").status == 200
        return ref

    def intent(self, ref):
        return self.get(f"/v1/intents/{ref}").body

    def fault(self, action, **script):
        answer = self.post("/control/faults", {"action": action, **script})
        assert answer.status == 201, answer.body

    def calls(self, **filters) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return self.get(f"/control/calls?{query}").body["data"]

    def executed(self, operation, **filters) -> int:
        return sum(call["executed"] for call in self.calls(operation=operation, **filters))

    def reset(self):
        assert self.post("/control/reset").status == 200

    def sql(self, statement, *parameters):
        with psycopg.connect(self.database_url, autocommit=True) as session:
            return session.execute(statement, parameters).fetchall()


@contextlib.contextmanager
def provider_running(name: str, **environment: str) -> Iterator[Provider]:
    """Start a provider on a free port with a database of this name, and stop it at the end."""
    suffix = os.environ.get("PYTEST_XDIST_WORKER", "")
    database_url = with_name(settings.DATABASE_URL, f"{name}{suffix}")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "payments.simulator", "--port", str(port)],
        cwd=ROOT,
        env={
            **os.environ,
            "SIMULATOR_DATABASE_URL": database_url,
            "SIMULATOR_API_KEY": KEY,
            "SIMULATOR_HANG_SECONDS": "20",
            **environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_line(process, "provider listens")
        provider = Provider(
            url=f"http://127.0.0.1:{port}", database_url=database_url, process=process
        )
        provider.reset()
        yield provider
        provider.pool.clear()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        process.stdout.close()


def wait_for_line(process, beginning):
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        give_up_at = time.monotonic() + START_LIMIT
        seen = []
        while time.monotonic() < give_up_at:
            if selector.select(0.2):
                line = process.stdout.readline()
                seen.append(line)
                if line.startswith(beginning):
                    return
                if not line:
                    break
    raise AssertionError(f"the provider did not start: {seen}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def all_at_once(*actions):
    """Run the actions in threads of their own and return what they returned, in order."""
    with ThreadPoolExecutor(max_workers=len(actions)) as threads:
        return [future.result() for future in [threads.submit(action) for action in actions]]
