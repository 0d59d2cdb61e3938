"""How far each projection has come: what is told and not yet in it, and since when.

Read from the events that are not settled (two small indexes) and the consumer's positions. A tick
writes it beside the projection, where a page finds it without looking into another context.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any
from uuid import UUID

from sagas.answering import Answering
from sagas.failpoints import failpoint
from sagas.outbox import starts
from sagas.outbox.apart import Apart
from sagas.outbox.republish import positions_of
from sagas.projections.declaring import PROJECTIONS, Projection
from sagas.transactions import connection_of, table

PAGE = 2000

_UNSENT = """
SELECT position, aggregatetype, aggregateid, sequence, created_at, type, created_at FROM {outbox}
WHERE published_at IS NULL AND position > %(position)s ORDER BY position LIMIT %(page)s
"""

_UNSETTLED = """
SELECT position, aggregatetype, aggregateid, sequence, created_at, type, published_at FROM {outbox}
WHERE settled_at IS NULL AND published_at IS NOT NULL
    AND (published_at, position) > (%(at)s::timestamptz, %(position)s)
ORDER BY published_at, position LIMIT %(page)s
"""

_STATE = "SELECT version, built_at, rebuilding_since FROM {states} WHERE name = %s"

_NOTE = """
INSERT INTO {states} AS s (name, as_of, behind, read_to)
VALUES (%(name)s, %(as_of)s, %(behind)s, '{{}}')
ON CONFLICT (name) DO UPDATE
SET as_of = greatest(s.as_of, excluded.as_of), behind = excluded.behind
"""

_NOTED = """
SELECT behind, extract(epoch FROM clock_timestamp() - as_of)::float8, as_of, version FROM {states}
WHERE name = %s
"""

Row = tuple[int, str, UUID, int, datetime, str, datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """How a projection stands."""

    name: str
    version: int
    built_version: int | None
    """Of the handlers it was built with; None if it was never built but only grew."""
    behind: int
    """Events that are told and not in it."""
    as_of: datetime
    """Everything that was told before this is in it."""
    seconds: float
    """Age of the oldest event that is not in it; 0 when there is none."""
    starting: int
    """Of those behind, how many were told before its context began to listen."""
    built_at: datetime | None
    rebuilding_since: datetime | None

    @property
    def is_out_of_date(self) -> bool:
        """Return whether it was built by other handlers than those that run."""
        return _is_old(self.version, self.built_version)


def lags() -> list[Lag]:
    """Return how every projection stands."""
    return [lag_of(projection) for _, projection in sorted(PROJECTIONS.items())]


def lag_of(projection: Projection) -> Lag:
    """Return how one projection stands."""
    now = _now(projection.context)
    behind, oldest, starting = 0, None, 0
    for producer, names in projection.producers().items():
        for row in _unapplied(producer, projection.context, names):
            behind += 1
            oldest = min(oldest or row[4], row[4])
        old, since = starts.to_come(projection.context, producer)
        starting += old
        if since is not None:
            oldest = min(oldest or since, since)
    version, built_at, rebuilding_since = _state(projection)
    return Lag(
        name=projection.name,
        version=projection.version,
        built_version=version,
        behind=behind + starting,
        as_of=min(now, oldest or now),
        seconds=round(max((now - oldest).total_seconds(), 0.0), 3) if oldest else 0.0,
        starting=starting,
        built_at=built_at,
        rebuilding_since=rebuilding_since,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """How a projection stood when a tick last looked, with the age of that look."""

    name: str
    behind: int
    seconds: float
    """Since everything that was told is in it; infinite where no tick has looked."""
    as_of: datetime | None
    is_out_of_date: bool


def noted(there: Answering | None = None) -> list[Noted]:
    """Return how every projection stands by what the ticks wrote beside it: a row for each.

    :param there: leaves out those of which the database does not answer
    """
    return [
        noted_of(projection)
        for _, projection in sorted(PROJECTIONS.items())
        if there is None or there.has(projection.context)
    ]


def noted_of(projection: Projection) -> Noted:
    """Return how one projection stands by what the ticks wrote beside it."""
    states = table(projection.context, "projection")
    with connection_of(projection.context).cursor() as cursor:
        cursor.execute(_NOTED.format(states=states), [projection.name])
        behind, seconds, as_of, version = cursor.fetchone() or (0, None, None, None)
    return Noted(
        name=projection.name,
        behind=behind,
        seconds=inf if seconds is None else max(seconds, 0.0),
        as_of=as_of,
        is_out_of_date=_is_old(projection.version, version),
    )


def _is_old(version: int, built_version: int | None) -> bool:
    return built_version not in (None, version)


def note() -> None:
    """Write beside each projection how fresh it is.

    What is in it stays in it, so ``as_of`` only grows. How much is behind is what was seen last: it
    grows also while ``as_of`` stands, and what a slow tick has seen is gone with the next.

    :raises django.db.Error: if a database is away, after the others have been noted
    """
    with Apart() as apart:
        for _, projection in sorted(PROJECTIONS.items()):
            with apart.each():
                _note(projection.context, lag_of(projection))


def _note(context: str, lag: Lag) -> None:
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            _NOTE.format(states=table(context, "projection")),
            {"name": lag.name, "as_of": lag.as_of, "behind": lag.behind},
        )
    failpoint("lag.noted", lag.name)


def _now(context: str) -> datetime:
    with connection_of(context).cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchall()[0][0]
    return now


def _state(projection: Projection) -> tuple[Any, Any, Any]:
    with connection_of(projection.context).cursor() as cursor:
        states = table(projection.context, "projection")
        cursor.execute(_STATE.format(states=states), [projection.name])
        return cursor.fetchone() or (None, None, None)


def _unapplied(producer: str, consumer: str, names: frozenset[str]) -> Iterator[Row]:
    """Yield what is told and not applied, without what was told before the consumer began."""
    border = starts.border_of(consumer, producer)
    for statement in (_UNSENT, _UNSETTLED):
        for page in _pages(producer, statement):
            heard = [row for row in page if row[5] in names and row[0] > border]
            read = positions_of(consumer, [(row[1], row[2]) for row in heard])
            yield from (row for row in heard if read.get((row[1], row[2]), 0) < row[3])


def _pages(producer: str, statement: str) -> Iterator[list[Row]]:
    at: Any = "-infinity"
    position = 0
    while True:
        with connection_of(producer).cursor() as cursor:
            cursor.execute(
                statement.format(outbox=table(producer, "outbox")),
                {"at": at, "position": position, "page": PAGE},
            )
            rows: list[Row] = cursor.fetchall()
        yield rows
        if len(rows) < PAGE:
            return
        at, position = rows[-1][6], rows[-1][0]
