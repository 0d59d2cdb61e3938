"""Parked sagas by what stopped them: few causes, many sagas."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Min

from sagas.causes import cause_of
from sagas.models.saga import SagaInstance
from sagas.orchestration import registry, seen
from sagas.orchestration.seen import Seen, way_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Sagas that are parked at the same step, going the same way, for the same reason."""

    name: str
    way: str
    step: str
    cause: str
    count: int
    oldest: datetime


def groups(name: str | None = None) -> list[Group]:
    """Return what stops sagas, the most frequent first; of one definition or of all."""
    rows = (
        _parked(name)
        .values("name", "def_version", "status", "cursor", "cause")
        .annotate(count=Count("id"), oldest=Min("parked_at"))
    )
    found: dict[tuple[str, str, str, str], Group] = {}
    for row in rows:
        step = _step(row["name"], row["def_version"], row["cursor"])
        way = way_of(row["status"])
        key = (row["name"], way, step, row["cause"])
        other = found.get(key)
        found[key] = Group(
            name=row["name"],
            way=way,
            step=step,
            cause=row["cause"],
            count=row["count"] + (other.count if other else 0),
            oldest=min(row["oldest"], other.oldest) if other else row["oldest"],
        )
    return sorted(found.values(), key=lambda group: (-group.count, group.oldest))


def alike(cause: str, name: str | None = None, at: Seen | None = None) -> dict[UUID, Seen]:
    """Return the sagas that are parked for a cause, who has waited longest first.

    Each with how it stands: an act on it is refused when somebody was faster.

    :param at: only those that stand there
    """
    rows = _parked(name).filter(cause=cause).order_by("parked_at", "id").defer("state")
    return {row.id: seen.look(row) for row in rows if at is None or not seen.changed(at, row)}


def _parked(name: str | None) -> Any:
    rows = SagaInstance.objects.filter(parked_at__isnull=False)
    rows = rows.filter(name=name) if name else rows
    return rows.annotate(cause=cause_of("parked_reason"))


def _step(name: str, version: int, cursor: int) -> str:
    """Return the name of a step; of a group that of its first branch."""
    definition = registry.SAGAS.get((name, version))
    if definition is None or not 0 <= cursor <= definition.last:
        return f"step {cursor + 1}"
    return definition.steps[cursor].name
