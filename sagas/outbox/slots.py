"""What tailing the log needs in a database: a publication of the outboxes, and a slot.

The publication names the tables, and its being there says that somebody wants them tailed. The
slot is how far the log has been read; PostgreSQL keeps the log from there on, for ever if nobody
reads. So a slot has a ceiling: `watch`, a tick, drops one that keeps back more.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from django.db import DatabaseError, connections
from psycopg import sql

from sagas.conf import conf
from sagas.contexts import contexts
from sagas.core.errors import SagasError
from sagas.failpoints import failpoint
from sagas.outbox.apart import Apart
from sagas.transactions import alias_of, table

log = logging.getLogger(__name__)

PUBLICATION = "outbox_tail"
MEGABYTE = 1 << 20

_LOOK = """
SELECT p.oid IS NOT NULL, obj_description(p.oid, 'pg_publication'), s.slot_name IS NOT NULL,
    coalesce(s.wal_status = 'lost', false),
    coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint
FROM pg_database d
LEFT JOIN pg_publication p ON p.pubname = %s
LEFT JOIN pg_replication_slots s ON s.slot_name = 'outbox_tail_' || d.oid
WHERE d.datname = current_database()
"""
_DROP = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE slot_name = %s AND NOT active
"""


class NotTailable(SagasError):
    """The log of this database cannot be tailed as it is; the message says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tail:
    """How tailing stands in one database."""

    alias: str
    is_wanted: bool
    """Somebody has set it up."""
    note: str
    """What is kept of a slot that was dropped; else empty."""
    has_slot: bool
    is_lost: bool
    """The server has thrown away what the slot had still to read."""
    retained: int
    """Bytes of log that are kept for it."""

    @property
    def is_broken(self) -> bool:
        """Return whether it is wanted and nothing can be read."""
        return self.is_wanted and (self.is_lost or not self.has_slot)

    @property
    def trouble(self) -> str:
        """Return what is wrong with it, in words, or nothing."""
        if not self.is_broken:
            return ""
        lost = "the server has thrown away what it had still to read"
        why = self.note or (lost if self.is_lost else "its slot is not there")
        return f"The log of the database {self.alias} is not tailed: {why}."


def databases() -> dict[str, tuple[str, ...]]:
    """Return the contexts whose outboxes lie in each database."""
    found: dict[str, tuple[str, ...]] = {}
    for context in contexts():
        alias = alias_of(context)
        found[alias] = (*found.get(alias, ()), context)
    return found


def look(alias: str) -> Tail:
    """Read how tailing stands in a database."""
    [row] = _run(alias, _LOOK, [PUBLICATION])
    wanted, note, has_slot, lost, retained = row
    return Tail(
        alias=alias,
        is_wanted=wanted,
        note=note or "",
        has_slot=has_slot,
        is_lost=lost,
        retained=retained,
    )


def slot_of(alias: str) -> str:
    """Name the slot of a database; slots belong to the whole server, so its number is in it."""
    [row] = _run(alias, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return f"outbox_tail_{row[0]}"


def set_up(alias: str) -> bool:
    """Make the publication and the slot, or a new one for one that is lost; False if all is there.

    What was written before belongs to the relay.

    :raises NotTailable: if the server or the role does not allow it
    """
    [(level,)] = _run(alias, "SHOW wal_level")
    if level != "logical":
        raise NotTailable(
            f"wal_level is {level!r}: set wal_level = 'logical' in postgresql.conf"
            " (ALTER SYSTEM SET wal_level = 'logical') and restart PostgreSQL"
        )
    before = look(alias)
    with _permitted(alias):
        # The publication first: the slot reads the catalog as it is where the log is read.
        _publish_tables(alias, is_there=before.is_wanted)
        failpoint("tail.published_tables", alias)
        if before.has_slot and before.is_lost:
            drop_slot(alias)
        if not before.has_slot or before.is_lost:
            create = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
            _run(alias, create, [slot_of(alias)])
    return before.is_broken or not before.is_wanted


def drop(alias: str) -> bool:
    """Take slot and publication away; False if there were none.

    :raises NotTailable: if somebody is reading from the slot
    """
    before = look(alias)
    with _permitted(alias):
        if before.has_slot and not drop_slot(alias):
            raise NotTailable("somebody is reading from the slot: stop `outbox tail` first")
        failpoint("tail.slot_dropped", alias)
        _run(alias, sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(PUBLICATION)))
    return before.has_slot or before.is_wanted


def drop_slot(alias: str) -> bool:
    """Drop the slot alone; False if it is not there or somebody reads from it right now."""
    try:
        return bool(_run(alias, _DROP, [slot_of(alias)]))
    except DatabaseError as error:
        # Somebody has begun to read from it, or has dropped it, since it was looked at.
        if isinstance(error.__cause__, psycopg.errors.ObjectInUse | psycopg.errors.UndefinedObject):
            return False
        raise


def watch() -> list[str]:
    """Drop each slot for which more log is kept than the ceiling; return their databases.

    What it had still to read is in the outbox, unmarked, where the relay finds it.

    :raises django.db.Error: if a database is away, after the others have been looked at
    """
    dropped = []
    with Apart() as apart:
        for alias in databases():
            with apart.each():
                if _drop_if_too_much_is_kept(alias):
                    dropped.append(alias)
    return dropped


def _drop_if_too_much_is_kept(alias: str) -> bool:
    ceiling = int(conf.TAIL_CEILING) * MEGABYTE
    tail = look(alias)
    if tail.is_lost or not tail.has_slot:
        return False
    if not (tail.retained > ceiling and drop_slot(alias)):
        return False
    failpoint("tail.slot_dropped", alias)
    kept = f"{tail.retained // MEGABYTE} MB of log were kept for it"
    _note(alias, f"its slot was dropped since {kept}")
    log.error("tail_dropped", extra={"context": alias, "reason": kept})
    return True


def _publish_tables(alias: str, *, is_there: bool) -> None:
    tables = sql.SQL(", ").join(
        sql.SQL("TABLE {} (position)").format(sql.Identifier(table(context, "outbox")))
        for context in databases()[alias]
    )
    name = sql.Identifier(PUBLICATION)
    if is_there:
        _run(alias, sql.SQL("ALTER PUBLICATION {} SET {}").format(name, tables))
        _note(alias, None)
    else:
        create = sql.SQL("CREATE PUBLICATION {} FOR {} WITH (publish = 'insert')")
        _run(alias, create.format(name, tables))


def _note(alias: str, text: str | None) -> None:
    """Leave word with the publication, if it is there, of what became of its slot."""
    if look(alias).is_wanted:
        comment = sql.SQL("COMMENT ON PUBLICATION {} IS {}")
        _run(alias, comment.format(sql.Identifier(PUBLICATION), sql.Literal(text)))


@contextmanager
def _permitted(alias: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        said = str(error).partition("\n")[0]
        match error.__cause__:
            case psycopg.errors.InsufficientPrivilege():
                user = connections[alias].settings_dict["USER"] or "the login role"
                raise NotTailable(
                    f"{said}: it needs ALTER ROLE {user} REPLICATION, CREATE on the database,"
                    " and to own the outboxes"
                ) from error
            case psycopg.errors.ConfigurationLimitExceeded():
                raise NotTailable(
                    f"{said}: drop a slot that nobody needs, or raise max_replication_slots"
                ) from error
        raise


def _run(
    alias: str, statement: LiteralString | sql.Composed, parameters: list[Any] | None = None
) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []
