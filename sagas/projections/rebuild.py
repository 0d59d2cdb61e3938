"""Building a projection anew beside the live table, from the first event on, while events come.

Three parts, none of which lets a reader see half a table:

1. an empty shadow is laid out, under a fencing token;
2. it is filled from the past, page by page, up to a horizon behind which nothing can come late;
3. in one short transaction nobody touches the live table, what has come meanwhile is put into the
   shadow, and the two change places.

Whatever the live table had of an event was committed before the lock, and so was the event: the
third part cannot miss it. What was discarded, and what waits behind a dead letter, is left out
(``letters.py``). An event that the shadow has and the consumer's position has not yet is
delivered as ever and changes nothing, since the row has seen its number.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import OperationalError

from sagas.core.errors import SagasError
from sagas.failpoints import failpoint
from sagas.outbox import past
from sagas.projections import shadow
from sagas.projections.declaring import Projection, UnreadableEvent
from sagas.projections.letters import LeftOut
from sagas.transactions import alias_of, connection_of, table, transaction

log = logging.getLogger(__name__)

PAGE = 1000
SLICE = 100_000
"""Positions that one statement goes through at most, however few of their events are wanted."""
FEW = 200
"""So many events may be left for the transaction in which the tables change places."""
PATIENCE = 30.0
LOCK_PATIENCE = 1.0
MOST_TRIES = 20

_BEGIN = """
INSERT INTO {states} AS s (name, fencing_token, read_to, rebuilding_since, behind)
VALUES (%s, 1, '{{}}', clock_timestamp(), 0)
ON CONFLICT (name) DO UPDATE SET fencing_token = s.fencing_token + 1, read_to = '{{}}',
    rebuilding_since = clock_timestamp()
RETURNING fencing_token
"""

_NOTE = "UPDATE {states} SET read_to = %s WHERE name = %s AND fencing_token = %s"

_END = """
UPDATE {states} SET version = %s, built_at = clock_timestamp(), rebuilding_since = NULL
WHERE name = %s AND fencing_token = %s
"""

_GIVE_UP = "UPDATE {states} SET rebuilding_since = NULL WHERE name = %s AND fencing_token = %s"


class TakenOver(SagasError):
    """Another rebuild of this projection has begun; it goes on, this one ends."""


class NeverQuiet(SagasError):
    """A transaction that may have told something stays open; look at pg_stat_activity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    name: str
    version: int
    events: int
    rows: int
    seconds: float
    locked_seconds: float
    """How long readers of the live table had to wait at most."""


Said = Callable[[int, int], None]


def _silent(_read: int, _all: int) -> None:
    """Tell nobody."""


def rebuild(projection: Projection, said: Said = _silent) -> Rebuilt:
    """Build a projection anew and let it take the place of the live one.

    Safe to begin again at any time: a rebuild that was killed has changed nothing, and one that
    still runs is taken over from.

    :param said: is told after each page how far it has come, and how far it is, in positions
    :raises TakenOver: if another rebuild of it has begun since
    :raises NeverQuiet: if the end of the past cannot be told
    :raises UnreadableEvent: if it comes to a version that the projection does not read
    """
    begun = time.monotonic()
    work = _Work(projection=projection, token=_begin(projection), said=said)
    failpoint("rebuild.begun", projection.name)
    try:
        return work.carry_out(begun)
    except (NeverQuiet, UnreadableEvent):
        work.give_up()
        raise


def _begin(projection: Projection) -> int:
    with transaction(projection.context, as_owner=True):
        with connection_of(projection.context).cursor() as cursor:
            states = table(projection.context, "projection")
            cursor.execute(_BEGIN.format(states=states), [projection.name])
            token = int(cursor.fetchall()[0][0])
        shadow.lay_out(projection.context, projection.table)
        failpoint("rebuild.before_commit", projection.name)
    return token


@dataclass(kw_only=True, slots=True)
class _Work:
    projection: Projection
    token: int
    said: Said
    read_to: dict[str, int] = field(default_factory=dict)
    events: int = 0
    all: int = 0
    left_out: LeftOut = field(init=False)

    def __post_init__(self) -> None:
        self.left_out = LeftOut(self.projection.context)

    def carry_out(self, begun: float) -> Rebuilt:
        """Fill the shadow, and let it take its place as soon as nobody is in the way."""
        self.measure()
        for _ in range(MOST_TRIES):
            self.catch_up()
            try:
                return self.change_places(begun)
            except OperationalError as busy:
                # Somebody reads the live table and does not end: wait without holding others up.
                if "lock timeout" not in str(busy):
                    raise
                log.info("rebuild_waits", extra={"key": self.projection.name})
        raise NeverQuiet(self.projection.name)

    def give_up(self) -> None:
        """Say that it is over, unless another has begun."""
        states = table(self.projection.context, "projection")
        with connection_of(self.projection.context).cursor() as cursor:
            cursor.execute(_GIVE_UP.format(states=states), [self.projection.name, self.token])

    def measure(self) -> None:
        """Note how far it is; nobody counts, for that would be one statement over all the past."""
        self.all = sum(past.last_position(producer) for producer in self.projection.producers())

    def catch_up(self) -> None:
        """Fill the shadow until only a few events are left."""
        while True:
            before = self.events
            for producer in self.projection.producers():
                end = past.horizon(producer, PATIENCE)
                if end is None:
                    raise NeverQuiet(producer)
                self._fill(producer, end)
            if self.events - before <= FEW:
                return

    def _fill(self, producer: str, end: int) -> None:
        while (after := self.read_to.get(producer, 0)) < end:
            upto = min(end, after + SLICE)
            page = self._next(producer, upto)
            # Behind a page that is not full nothing is listened to in this slice.
            reached = page[-1].position if len(page) == PAGE else upto
            fit = self.left_out.without(page)
            with transaction(self.projection.context):
                # The row first: whoever takes over waits for the page, and then it is refused.
                self._note(producer, reached)
                self._put(fit)
                failpoint("rebuild.page.before_commit", producer)
            failpoint("rebuild.page.committed", producer)
            come = sum(self.read_to.values())
            self.said(come, max(come, self.all))

    def _next(self, producer: str, end: int | None) -> list[past.PastEvent]:
        names = self.projection.producers()[producer]
        after = self.read_to.get(producer, 0)
        return past.events_of(producer, after, names=names, upto=end, limit=PAGE)

    def _put(self, page: list[past.PastEvent]) -> None:
        connection = connection_of(self.projection.context)
        # Sent together: an event costs a statement, and its way there and back would cost more.
        with connection.wrap_database_errors, connection.connection.pipeline():
            for event in page:
                self.projection.put(shadow.name_of(self.projection.table), event)
        self.events += len(page)

    def _note(self, producer: str, position: int) -> None:
        self.read_to[producer] = position
        self._update(_NOTE, json.dumps(self.read_to))

    def _update(self, statement: str, value: Any) -> None:
        states = table(self.projection.context, "projection")
        with connection_of(self.projection.context).cursor() as cursor:
            cursor.execute(
                statement.format(states=states), [value, self.projection.name, self.token]
            )
            if cursor.rowcount != 1:
                raise TakenOver(self.projection.name)

    def change_places(self, begun: float) -> Rebuilt:
        """Put in what has come meanwhile, and let the shadow be the table."""
        of, before = self.projection, (dict(self.read_to), self.events, self.left_out.copy())
        try:
            with transaction(of.context, as_owner=True):
                self._update(_END, of.version)
                shadow.analyze(of.context, of.table)
                locked = time.monotonic()  # whoever comes while we wait for the lock waits too
                shadow.lock(of.context, of.table, LOCK_PATIENCE)
                for producer in of.producers():
                    while page := self._next(producer, None):
                        self._put(self.left_out.without(page))
                        self.read_to[producer] = page[-1].position
                self._put(self.left_out.applied())
                shadow.change_places(of.context, of.table)
                failpoint("rebuild.change.before_commit", of.name)
        except OperationalError:
            self.read_to, self.events, self.left_out = before
            raise
        failpoint("rebuild.changed", of.name)
        now = time.monotonic()
        return Rebuilt(
            name=of.name,
            version=of.version,
            events=self.events,
            rows=of.into._default_manager.using(alias_of(of.context)).count(),
            seconds=round(now - begun, 3),
            locked_seconds=round(now - locked, 3),
        )
