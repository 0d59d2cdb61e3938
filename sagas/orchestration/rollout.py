"""A new version takes a share of the starts; the others run the version before it.

Which ones is decided by the business key, so a second start under it is the same, and whoever is
among the first percent is also among the first ten. Only a start asks: an instance ends on the
version it began with, whatever the share is by then.
"""

from hashlib import sha256
from typing import Any

from django.db import connections

from sagas.core.definition import Kind, Saga
from sagas.models.rollout import Rollout
from sagas.orchestration import registry
from sagas.transactions import ENGINE, alias_of


def chosen(saga: Saga[Any], key: str) -> Saga[Any]:
    """Return the version that a start under this business key runs: this one, or one before it.

    For a caller whose versions have states of different types, or of which one has a begun step
    that the other has not; ``start`` asks by itself where neither is so.
    """
    before = _before(saga)
    if before is None or _place(saga.name, key) < _share(saga):
        return saga
    return chosen(before, key)


def to_start(saga: Saga[Any], key: str) -> Saga[Any]:
    """Return the version that is started for a state of this version's type.

    And for a caller who has done as much as this version's callers do: what the transaction has
    begun is not done again, and nobody relies on what it has not.
    """
    runs = chosen(saga, key)
    return runs if runs.state is saga.state and _begun(runs) == _begun(saga) else saga


def _begun(saga: Saga[Any]) -> str | None:
    first = saga.steps[0]
    return first.name if first.kind is Kind.BEGUN else None


def ensure(using: str) -> None:
    """Write a row for every version that has one before it, for operators to edit.

    Called after every ``migrate``, for the database that was migrated. Safe to repeat: a row that
    is there keeps what somebody has decided.
    """
    if using != alias_of(ENGINE) or not _has_table(using):
        return
    Rollout.objects.bulk_create(
        [
            Rollout(name=saga.name, version=saga.version, percent=saga.share)
            for saga in registry.SAGAS.values()
            if _before(saga) is not None
        ],
        ignore_conflicts=True,
    )


def _has_table(using: str) -> bool:
    return Rollout._meta.db_table in connections[using].introspection.table_names()


def _before(saga: Saga[Any]) -> Saga[Any] | None:
    versions = [
        version for name, version in registry.SAGAS if name == saga.name and version < saga.version
    ]
    return registry.SAGAS[saga.name, max(versions)] if versions else None


def _share(saga: Saga[Any]) -> int:
    # A look only, and so allowed where the context that starts has a database of its own.
    decided = Rollout.objects.filter(name=saga.name, version=saga.version)
    percent = decided.values_list("percent", flat=True).first()
    return saga.share if percent is None else percent


def _place(name: str, key: str) -> int:
    return int.from_bytes(sha256(f"{name} {key}".encode()).digest()[:8]) % 100
