"""Loaded with -p: gives this run of the suite its own PostgreSQL and Valkey."""

import itertools
import os

import pytest

from config.embedded import Embedded

_servers: list[Embedded] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start the servers. At this hook, since pytest-django reads the settings right after it."""
    os.environ["CONCORD_PROFILE"] = "fast"
    os.environ.setdefault("DEBUG", "1")
    os.environ.setdefault("LOG_FORMAT", "json")
    # test0, or the next one where another run of this checkout is under way.
    candidates = (Embedded(f"test{number}") for number in itertools.count())
    embedded = next(candidate for candidate in candidates if candidate.lock())
    os.environ["EMBEDDED_INSTANCE"] = embedded.dir.name
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
