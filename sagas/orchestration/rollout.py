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
    return _drawn(_line(saga), key)


def to_start(saga: Saga[Any], key: str) -> Saga[Any]:
    """Return the version that is started for a state of this version's type.

    And for a caller who has done as much as this version's callers do: what the transaction has
    begun is not done again, and nobody relies on what it has not. Versions that do not fit
    take no share: what they would take is left to those before them, at last to the oldest that
    fits.
    """
    fitting = [
        version
        for version in _line(saga)
        if version.state is saga.state and _begun(version) == _begun(saga)
    ]
    return _drawn(fitting, key)


def _drawn(versions: list[Saga[Any]], key: str) -> Saga[Any]:
    """Return the first whose share the key is in; the last one takes what is left."""
    for version in versions[:-1]:
        if _place(version.name, key) < _share(version):
            return version
    return versions[-1]


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
            if len(_line(saga)) > 1
        ],
        ignore_conflicts=True,
    )


def _has_table(using: str) -> bool:
    return Rollout._meta.db_table in connections[using].introspection.table_names()


def _line(saga: Saga[Any]) -> list[Saga[Any]]:
    """Return a version and those before it, the newest first."""
    before = [
        older
        for older in registry.SAGAS.values()
        if older.name == saga.name and older.version < saga.version
    ]
    return [saga, *sorted(before, key=lambda older: older.version, reverse=True)]


def _share(saga: Saga[Any]) -> int:
    # A look only, and so allowed where the context that starts has a database of its own.
    decided = Rollout.objects.filter(name=saga.name, version=saga.version)
    percent = decided.values_list("percent", flat=True).first()
    return saga.share if percent is None else percent


def _place(name: str, key: str) -> int:
    return int.from_bytes(sha256(f"{name} {key}".encode()).digest()[:8]) % 100
