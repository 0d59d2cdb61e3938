"""How sagas are doing, in figures: few queries, each by an index and of a bounded cost.

The metrics and the operators' first page show the same figures, so both read them here. No query
looks at a saga that has ended, but at those of the last hour.
"""

from dataclasses import dataclass
from typing import Any, Final

from sagas.orchestration import registry
from sagas.statements import cursor_of
from sagas.transactions import ENGINE

MOST: Final = 200_000
"""So many unfinished sagas are looked at, the oldest first; where there are more, say so."""
MOST_ENDED: Final = 10_000
"""So many that have ended are looked at, the latest first."""
QUANTILES: Final = (0.5, 0.95, 1.0)

_UNDER_WAY = """
SELECT name, def_version, status, coalesce(split_part(waiting_for, ':', 1), 'nothing'), count(*),
    percentile_disc(%(quantiles)s::float8[]) WITHIN GROUP (ORDER BY age),
    count(*) FILTER (WHERE is_parked), count(*) FILTER (WHERE attempts > 1),
    count(*) FILTER (WHERE hints > 0),
    count(*) FILTER (WHERE step_deadline_at < (SELECT sagas.now()))
FROM (
    SELECT name, def_version, status, waiting_for, attempts, hints, step_deadline_at,
        parked_at IS NOT NULL AS is_parked,
        extract(epoch FROM statement_timestamp() - started_at)::float8 AS age
    FROM sagas_saga WHERE finished_at IS NULL ORDER BY started_at LIMIT %(most)s) AS unfinished
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_ENDED = """
SELECT name, status, count(*) FROM (
    SELECT name, status FROM sagas_saga
    WHERE finished_at > statement_timestamp() - interval '1 hour'
    ORDER BY finished_at DESC LIMIT %(most)s) AS ended
GROUP BY name, status ORDER BY name, status
"""
# Each is the first entry of an index: sagas and branches are due by themselves.
_LATEST = """
SELECT extract(epoch FROM statement_timestamp() - (SELECT min(due_at) FROM sagas_saga))::float8,
    extract(epoch FROM statement_timestamp() - (SELECT min(due_at) FROM sagas_steprun))::float8
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Unfinished sagas of one definition that stand alike."""

    name: str
    def_version: int
    status: str
    waits_for: str
    """``nothing``, ``signal``, ``timer``, ``child`` or ``lock``."""
    count: int
    ages: tuple[float, ...]
    """In seconds since the start, at the QUANTILES; real sagas' ages, not means of two."""
    parked: int
    retrying: int
    hinted: int
    late: int
    """Those whose time for the step they stand at is over."""

    @property
    def is_unknown(self) -> bool:
        """Return whether this release does not know their definition."""
        return (self.name, self.def_version) not in registry.SAGAS


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How the sagas of one name have ended in the last hour."""

    name: str
    completed: int
    compensated: int

    @property
    def compensated_ratio(self) -> float:
        """Return the part that was compensated, from 0 to 1."""
        return self.compensated / (self.completed + self.compensated)

    @property
    def compensated_percent(self) -> str:
        """Return the same in percent, for people: with one decimal where it is small."""
        percent = 100 * self.compensated_ratio
        return f"{percent:.1f}" if 0 < percent < 10 else f"{percent:.0f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """For how many seconds the most overdue row has waited for the sweeper."""

    sagas: float
    branches: float


def under_way() -> list[Group]:
    """Return the unfinished sagas by definition, status and what they wait for."""
    rows = _read(_UNDER_WAY, {"quantiles": list(QUANTILES), "most": MOST})
    return [
        Group(
            name=row[0],
            def_version=row[1],
            status=row[2],
            waits_for=row[3],
            count=row[4],
            ages=tuple(row[5]),
            parked=row[6],
            retrying=row[7],
            hinted=row[8],
            late=row[9],
        )
        for row in rows
    ]


def ended_lately() -> list[Ended]:
    """Return by name how sagas ended in the last hour: the latest of them, where they are many."""
    counts: dict[str, dict[str, int]] = {}
    for name, status, count in _read(_ENDED, {"most": MOST_ENDED}):
        counts.setdefault(name, {})[status] = count
    return [
        Ended(
            name=name,
            completed=found.get("completed", 0),
            compensated=found.get("compensated", 0),
        )
        for name, found in counts.items()
    ]


def lag() -> Lag:
    """Return how late the sweeper is: nothing is overdue for long while one runs."""
    [(sagas, branches)] = _read(_LATEST, {})
    return Lag(sagas=max(sagas or 0.0, 0.0), branches=max(branches or 0.0, 0.0))


def _read(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with cursor_of(ENGINE) as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
