"""Loaded with -p: gives this run of the suite its own PostgreSQL, Valkey and free ports."""

import itertools
import os
import socket

import pytest

from config.embedded import Embedded

_servers: list[Embedded] = []


def _is_divided(config: pytest.Config) -> bool:
    """Return whether other processes run the tests, each on servers of its own."""
    here = "PYTEST_XDIST_WORKER" not in os.environ
    return here and bool(getattr(config.known_args_namespace, "numprocesses", None))


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start the servers. At this hook, since pytest-django reads the settings right after it."""
    if _is_divided(early_config):
        if {"DATABASE_URL", "REDIS_URL"} & os.environ.keys():
            # Tests empty tables and flush Redis: two processes need servers of their own.
            early_config.known_args_namespace.numprocesses = 0
            early_config.known_args_namespace.tx = []
            early_config.known_args_namespace.dist = "no"
        else:
            os.environ.setdefault("DEBUG", "1")
            os.environ.update(_environment(Embedded("test")))
            return
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
        # A provider that fails on purpose in one test would hold up the next.
        "SAGAS_BREAKER_FAILURES": os.environ.get("SAGAS_BREAKER_FAILURES", "0"),
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
