"""Finding events in the database's own log, in the order of their commits.

An extra beside the relay, off by default. A look into the log goes on where the last one ended,
hands the events over as the relay does, marks them, and only then moves the slot on. So what was
handed over twice is harmless as ever, and nothing is passed over. The relay may run at the same
time: whatever either has marked, the other leaves alone.

The log has only the position of each row; the row itself is read from the outbox.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import psycopg
from django.db import DatabaseError, connections

from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.failpoints import failpoint
from sagas.outbox import pgoutput
from sagas.outbox.pgoutput import Begin, Commit, Insert, Relation, UnreadableLog
from sagas.outbox.relay import Row, hand_over
from sagas.outbox.slots import MEGABYTE, PUBLICATION, NotTailable, databases
from sagas.transactions import connection_of, table

MOST_CHANGES = 10_000
"""Of one look; it is exceeded only by a single transaction that has more."""
HALF, WHOLE = 1 << 31, 1 << 32

LONG = 4 * MEGABYTE
"""Of log that a look reads again before it comes to what is new."""

# Without a limit of time: a very large transaction takes as long as it takes.
_FACTS = """
SELECT 'outbox_tail_' || d.oid, pg_current_wal_flush_lsn(),
    coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) > %s
        AND has_function_privilege(to_regprocedure('pg_log_standby_snapshot()'), 'EXECUTE'), false),
    set_config('statement_timeout', '0', false)
FROM pg_database d LEFT JOIN pg_replication_slots s ON s.slot_name = 'outbox_tail_' || d.oid
WHERE d.datname = current_database()
"""
_PEEK = """
SELECT data FROM pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, %s,
    'proto_version', '1', 'publication_names', %s)
"""
_ADVANCE = """
SELECT pg_replication_slot_advance(slot_name, %(to)s::pg_lsn) FROM pg_replication_slots
WHERE slot_name = %(slot)s AND pg_wal_lsn_diff(%(to)s::pg_lsn, confirmed_flush_lsn) > %(least)s
"""
_UNMARKED = """
SELECT position, id, type, traceparent, aggregatetype, aggregateid, true
FROM unnest(%s::bigint[]) WITH ORDINALITY AS found (position, number) JOIN {outbox} USING (position)
WHERE published_at IS NULL ORDER BY number
"""


class Refused(SagasError):
    """The broker did not take the events; the slot stays where it is."""


def tail(alias: str) -> int:
    """Hand over what is new in a database's log, as far as one look goes; return how many events.

    Nothing, when somebody else is reading from the slot at this moment.

    :raises NotTailable: if the slot is not there, or can be read no more
    :raises Refused: if the broker does not take the events
    """
    return _look_once(alias).count


def tail_to_the_end(alias: str) -> int:
    """Hand over all that a database's log holds at this moment; return how many events.

    A look may find only what the relay has marked; it is over when there is nothing left to read.
    """
    _, end = _facts(alias)
    total = 0
    while (look := _look_once(alias, end)).reached is not None:
        total += look.count
    return total


def _look_once(alias: str, end: str | None = None) -> "_Look":
    slot, flushed = _facts(alias)
    look = _Look(alias)
    # The server keeps the answer, however large, and no transaction is open while it is read. In a
    # session that was cut the cursor cannot be closed: that is left to the next statement to say,
    # in Django's words. Closed once more, then without the server, it does not count as forgotten.
    with closing(connections[alias].chunked_cursor()) as cursor, cursor:
        try:
            cursor.execute(_PEEK, [slot, end, MOST_CHANGES, PUBLICATION])
        except DatabaseError as error:
            if _is_busy(error):
                return look
            raise _not_tailable(error) from error
        failpoint("tail.read", alias)
        look.hand_over_all(data for (data,) in cursor)
    failpoint("tail.handed_over", alias)
    if look.reached is not None:
        _advance(alias, slot, look.reached, least=0)
    elif not look.is_early:
        # Nothing of ours is in it, and yet the log would be kept. Not each time: this reads it too.
        _advance(alias, slot, end or flushed, least=MEGABYTE)
    failpoint("tail.advanced", alias)
    return look


def _facts(alias: str) -> tuple[str, str]:
    """Return the name of the slot, and up to where the log is on disk."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_FACTS, [LONG])
        slot, flushed, is_long, _ = cursor.fetchone()
        if is_long:
            # From here the looks to come can start, once this one has passed it. PostgreSQL does
            # so by itself every 15 s, in which a busy server writes much.
            cursor.execute("SELECT pg_log_standby_snapshot()")
    return slot, flushed


class _Look:
    """One look into the log: what has been seen of it so far."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.outboxes = {table(context, "outbox"): context for context in databases()[alias]}
        self.relations: dict[int, tuple[str, int]] = {}
        self.waiting: dict[str, list[int]] = defaultdict(list)
        self.seen = _Seen(alias)
        self.count = 0
        self.reached: str | None = None
        """Everything before has been read; without it nothing has."""
        self.is_early = False
        """The look has ended at a transaction that others cannot see yet."""

    def hand_over_all(self, messages: Iterator[bytes]) -> None:
        """Hand over every event, in batches; a transaction may be more than one."""
        reached = None
        for data in messages:
            match pgoutput.read(bytes(data)):
                case Begin(xid) if not self.seen.includes(xid):
                    self.is_early = True
                    break
                case Relation() as relation:
                    self._meet(relation)
                case Insert(oid, values):
                    context, at = self.relations[oid]
                    self.waiting[context].append(int(values[at] or 0))
                    if len(self.waiting[context]) >= int(conf.RELAY_BATCH):
                        self._hand_over()
                case Commit(end):
                    reached = end
        self._hand_over()
        self.reached = reached

    def _meet(self, relation: Relation) -> None:
        context = self.outboxes.get(relation.table)
        if context is None or "position" not in relation.columns:
            raise UnreadableLog(
                f"rows of {relation.table} {relation.columns}, and not the position of an outbox:"
                " run `manage.py outbox tail --setup` with this release"
            )
        self.relations[relation.oid] = (context, relation.columns.index("position"))

    def _hand_over(self) -> None:
        for context, positions in self.waiting.items():
            rows = _unmarked(context, positions)
            if rows and not hand_over(context, rows):
                raise Refused
            self.count += len(rows)
        self.waiting.clear()


class _Seen:
    """Which transactions everybody sees.

    A commit is in the log a moment before its rows are there for others, or long before where
    it waits for another server. Whoever told consumers at once would have them find nothing.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.next: int | None = None
        self.open: set[int] = set()

    def includes(self, xid: int) -> bool:
        """Return whether a transaction of the log has ended for everybody."""
        if self._is_open(xid):
            self._look_again()
        return not self._is_open(xid)

    def _is_open(self, xid: int) -> bool:
        if self.next is None:
            return True
        # The log has the lower half of the number; both lie within half a turn of the counter.
        whole = self.next + (xid - self.next + HALF) % WHOLE - HALF
        return whole >= self.next or whole in self.open

    def _look_again(self) -> None:
        with connections[self.alias].cursor() as cursor:
            cursor.execute("SELECT pg_current_snapshot()::text")
            _, after, running = cursor.fetchone()[0].split(":")
        self.next = int(after)
        self.open = {int(each) for each in running.split(",") if each}


def _unmarked(context: str, positions: list[int]) -> list[Row]:
    with connection_of(context).cursor() as cursor:
        cursor.execute(_UNMARKED.format(outbox=table(context, "outbox")), [positions])
        return list(cursor.fetchall())


def _advance(alias: str, slot: str, to: str, *, least: int) -> None:
    with connections[alias].cursor() as cursor:
        try:
            cursor.execute(_ADVANCE, {"slot": slot, "to": to, "least": least})
        except DatabaseError as error:
            # Somebody else reads from it now, or has moved it further. If the slot itself has
            # come to harm, the next look says so; what stays is read again and found marked.
            if not (_is_busy(error) or _is_behind(error)):
                raise


def _is_busy(error: DatabaseError) -> bool:
    return isinstance(error.__cause__, psycopg.errors.ObjectInUse)


def _is_behind(error: DatabaseError) -> bool:
    return isinstance(error.__cause__, psycopg.errors.ObjectNotInPrerequisiteState)


def _not_tailable(error: DatabaseError) -> Exception:
    if _is_behind(error) or isinstance(error.__cause__, psycopg.errors.UndefinedObject):
        said = str(error).partition("\n")[0]
        return NotTailable(
            f"{said}: run `manage.py outbox tail --setup`; until then the relay goes on alone"
        )
    return error
