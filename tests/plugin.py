"""Loaded with -p: gives this run of the suite its own PostgreSQL, Valkey and free ports."""

import itertools
import os
import socket

import pytest

from config.embedded import Embedded

_servers: list[Embedded] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start the servers. At this hook, since pytest-django reads the settings right after it."""
    # test0, or the next one where another run of this checkout is under way.
    candidates = (Embedded(f"test{number}") for number in itertools.count())
    embedded = next(candidate for candidate in candidates if candidate.lock())
    os.environ.update(_environment(embedded))
    os.environ.setdefault("DEBUG", "1")
    _servers.append(embedded)
    embedded.start(
        postgres="DATABASE_URL" not in os.environ,
        redis="REDIS_URL" not in os.environ,
        fast=True,
    )


def pytest_unconfigure() -> None:
    """Stop them."""
    while _servers:
        _servers.pop().stop()


def _environment(embedded: Embedded) -> dict[str, str]:
    provider, web = _free_ports(2)
    return {
        "CONCORD_PROFILE": "fast",
        "EMBEDDED_INSTANCE": embedded.dir.name,
        "LOG_FORMAT": "json",
        "PAYMENT_PROVIDER_URL": f"http://127.0.0.1:{provider}",
        "TEST_WEB_URL": f"http://127.0.0.1:{web}",
    }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
