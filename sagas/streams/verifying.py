"""Holding the tables against the streams: what was told has to be what is stored.

Each context is read in one snapshot, its aggregates page by page, so that it may be asked of a
system at work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q

from sagas import append_only
from sagas.core.commands import context_of
from sagas.core.errors import SagasError
from sagas.streams.folding import FOLDS, Fold, fold
from sagas.streams.reading import StoredEvent, read, snapshot, told
from sagas.transactions import connection_of, table

PAGE = 500
Row = tuple[Any, ...]
UNTOLD = "nothing was told of it"

# All that is told has to be brought into the order of its streams for this, which is what costs:
# so it is asked once, and a row of no stream says how much there was.
_STREAMS = """
WITH streams AS MATERIALIZED (
    SELECT aggregatetype, aggregateid, count(*) AS events, min(number) AS first,
        max(number) AS last, count(*) FILTER (WHERE is_double) AS doubles,
        min(number) FILTER (WHERE is_back) AS back
    FROM (
        SELECT aggregatetype, aggregateid, number,
            number = lag(number) OVER stream AS is_double,
            position < lag(position) OVER stream AS is_back
        FROM ({told}) AS told
        WINDOW stream AS (PARTITION BY aggregatetype, aggregateid ORDER BY number)) AS told
    GROUP BY aggregatetype, aggregateid)
SELECT NULL, NULL, count(*), coalesce(sum(events), 0)::bigint, NULL, NULL, NULL FROM streams
UNION ALL
(SELECT aggregatetype, aggregateid, events, first, last, doubles, back FROM streams
 WHERE first <> 1 OR last <> events OR doubles > 0 OR back IS NOT NULL
 ORDER BY aggregatetype, aggregateid)
"""

_NOT_KEPT = """
SELECT aggregatetype, aggregateid, sequence FROM {outbox} x
WHERE published_at IS NOT NULL AND NOT EXISTS (SELECT FROM {event} kept WHERE kept.id = x.id)
ORDER BY position
"""

_OTHERWISE = """
SELECT x.aggregatetype, x.aggregateid, x.sequence FROM {outbox} x JOIN {event} e ON e.id = x.id
WHERE (x.aggregatetype, x.aggregateid, x.sequence, x.type, x.version, x.payload, x.occurred_at)
    IS DISTINCT FROM
    (e.aggregatetype, e.aggregateid, e.number, e.type, e.version, e.payload, e.occurred_at)
ORDER BY x.position
"""

_WITHOUT_ROW = """
SELECT DISTINCT aggregateid FROM ({told}) AS told
WHERE aggregatetype = %s AND NOT EXISTS (SELECT FROM {aggregates} a WHERE a.id = aggregateid)
ORDER BY aggregateid
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Something that was told and is not stored so."""

    stream: str
    field: str
    folded: Any
    stored: Any


@dataclass(kw_only=True, slots=True)
class Verdict:
    """What was looked at, and what does not agree."""

    streams: int = 0
    events: int = 0
    rows: int = 0
    """Rows of aggregates that were held against their streams."""
    differences: list[Difference] = field(default_factory=list)


def verify(chosen: Sequence[str]) -> Verdict:
    """Fold every stream of the contexts and compare with their tables."""
    verdict = Verdict()
    for context in chosen:
        with snapshot(context):
            torn = _count(context, verdict)
            verdict.differences += [*_of_guard(context), *_of_streams(torn)]
            verdict.differences += _of_history(context)
            for name, found in sorted(FOLDS.items()):
                if context_of(name) == context:
                    verdict.differences += _without_row(context, name, found)
                    _compare_all(name, found, verdict)
    return verdict


def _count(context: str, verdict: Verdict) -> list[Row]:
    """Count streams and events; return the streams whose numbers or positions are not in order."""
    rows = _asked(context, _STREAMS)
    [(_, _, streams, events, *_)] = [row for row in rows if row[0] is None]
    verdict.streams += streams
    verdict.events += events
    return [row for row in rows if row[0] is not None]


def _of_guard(context: str) -> Iterator[Difference]:
    """Tell of a history that could be rewritten: what it says then proves nothing."""
    for name, said in append_only.unguarded(connection_of(context), [table(context, "event")]):
        yield Difference(
            stream=name, field="trigger append_only", folded=append_only.ON, stored=said
        )


def _of_streams(torn: Sequence[Row]) -> Iterator[Difference]:
    for kind, key, count, first, last, doubles, back in torn:
        if (first, last, doubles) != (1, count, 0):
            yield Difference(
                stream=f"{kind}:{key}",
                field="numbers",
                folded=f"1 to {last}, each once",
                stored=f"{count} events, numbered {first} to {last}",
            )
        if back is not None:
            yield Difference(
                stream=f"{kind}:{key}",
                field="positions",
                folded="grow with the numbers",
                stored=f"event {back} stands before the one it follows",
            )


def _of_history(context: str) -> Iterator[Difference]:
    for statement, stored in (
        (_NOT_KEPT, "sent, and not in the history"),
        (_OTHERWISE, "in the history, with other words"),
    ):
        for kind, key, number in _asked(context, statement):
            yield Difference(
                stream=f"{kind}:{key}",
                field=f"event {number}",
                folded="in the history, as it was sent",
                stored=stored,
            )


def _without_row(context: str, name: str, found: Fold) -> Iterator[Difference]:
    quoted = connection_of(context).ops.quote_name(found.aggregate._meta.db_table)
    for (key,) in _asked(context, _WITHOUT_ROW, [name], aggregates=quoted):
        yield Difference(stream=f"{name}:{key}", field="row", folded="is there", stored=None)


def _compare_all(name: str, found: Fold, verdict: Verdict) -> None:
    last: UUID | None = None
    while rows := _page(found, last):
        last = rows[-1]["id"]
        streams = read(name, [row["id"] for row in rows])
        silent = _silent(found, [key for key, events in streams.items() if not events])
        for row in rows:
            if row["id"] not in silent:
                verdict.differences += compare(name, found, row, streams[row["id"]])
        verdict.rows += len(rows)


def _page(found: Fold, last: UUID | None) -> list[dict[str, Any]]:
    after = Q() if last is None else Q(id__gt=last)
    rows = found.aggregate._default_manager.filter(after).order_by("id")
    return [dict(row) for row in rows.values()[:PAGE]]


def _silent(found: Fold, keys: list[UUID]) -> set[UUID]:
    """Return those of which nothing needs to have been told, and by their counter nothing was."""
    if found.untold is None or not keys:
        return set()
    rows = found.aggregate._default_manager.filter(found.untold, id__in=keys, event_sequence=0)
    return set(rows.values_list("id", flat=True))


def compare(
    name: str, found: Fold, row: dict[str, Any], events: Sequence[StoredEvent]
) -> Iterator[Difference]:
    """Tell in which fields a row differs from what its stream comes to."""
    stream = f"{name}:{row['id']}"
    if not events:
        yield Difference(stream=stream, field="row", folded=UNTOLD, stored="is there")
        return
    try:
        facts = fold(found, events)
    except SagasError as wrong:
        said = f"{type(wrong).__name__}: {wrong}"
        yield Difference(stream=stream, field="events", folded=said, stored="is there")
        return
    for known, folded in {**facts, "event_sequence": events[-1].number}.items():
        if row[known] != folded:
            yield Difference(stream=stream, field=known, folded=folded, stored=row[known])


def _asked(context: str, statement: str, parameters: Sequence[Any] = (), **names: str) -> list[Row]:
    tables = {"event": table(context, "event"), "outbox": table(context, "outbox")}
    with connection_of(context).cursor() as cursor:
        cursor.execute(statement.format(told=told(context), **tables, **names), parameters)
        return list(cursor.fetchall())
