"""The probes: does the process live, may it be sent requests, and how far behind are we."""

from typing import Final

import redis
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from config.metrics import Backlog
from sagas import answering

OK: Final = "ok"
# Migrations are never taken back under a running process: once applied, they are not asked for.
_known: Final = {"migrated": False}


@never_cache
@require_safe
def livez(request: HttpRequest) -> HttpResponse:
    """Say that the process answers; nothing else is looked at."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether requests may be sent here, and what is missing if not.

    Redis is reported and does not count: without it orders are still taken, and the rows wait.
    """
    found = {"database": _database(), "redis": _redis()}
    found["migrations"] = _migrations() if found["database"] == OK else "unknown"
    ready = found["database"] == found["migrations"] == OK
    return JsonResponse({"ready": ready, **found}, status=200 if ready else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape of Prometheus with what the database says at this moment."""
    registry = CollectorRegistry()
    registry.register(Backlog())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _database() -> str:
    for alias in connections:
        if trouble := answering.trouble(alias):
            return f"{_which(alias)}{trouble}"
    return OK


def _migrations() -> str:
    if not _known["migrated"]:
        for alias in connections:
            executor = MigrationExecutor(connections[alias])
            missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
            if missing:
                # A session from before `migrate` has not got the search_path that it sets.
                connections[alias].close()
                return f"{_which(alias)}{missing} not applied: run manage.py migrate"
        _known["migrated"] = True
    return OK


def _which(alias: str) -> str:
    """Name the database of a context that has its own."""
    return "" if alias == DEFAULT_DB_ALIAS else f"{alias}: "


def _redis() -> str:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
        ) as client:
            client.ping()
    except redis.exceptions.RedisError as error:
        return f"not reachable ({type(error).__name__})"
    return OK
