"""A saga starts once under its business key, and with its lock in hand or asleep for it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from sagas import clock
from sagas.core import codec
from sagas.core.definition import Saga
from sagas.core.errors import SagasError
from sagas.core.locks import Meeting
from sagas.error_texts import storable
from sagas.orchestration import locks, stops
from sagas.orchestration.handover import let_go, what_for
from sagas.orchestration.locks import Taking
from sagas.orchestration.stops import NewSaga
from sagas.orchestration.store import engine_cursor
from sagas.sometimes import sometimes
from sagas.statements import cursor_of
from sagas.transactions import ENGINE


class Again(StrEnum):
    """What a second start under a business key is answered."""

    SAME = "same"
    """The id of the first saga, whatever its state and its version, also after its end."""
    REFUSE = "refuse"
    """``AlreadyStarted``, which names the first saga."""
    AFTER_END = "after_end"
    """The running saga's id; when it has ended, a new one starts, under the key with a number."""


class UnfitKey(SagasError):
    """A business key is a text of at most 1000 bytes that a database can hold."""


class AlreadyStarted(SagasError):
    """A saga was started under this business key before."""

    saga_id: UUID | None = None
    """The saga that was started first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """What a start has come to."""

    saga_id: UUID
    is_new: bool
    is_asleep: bool = False


LONGEST_KEY = 1000
"""In bytes; an index of PostgreSQL holds 2700, and a key is not alone in it."""


def refuse_unfit(key: str) -> None:
    """Look at a business key before the database does.

    :raises UnfitKey: if it could not be stored
    """
    if storable(key) != key:
        raise UnfitKey("a business key has a zero byte, or half of a surrogate pair")
    if (length := len(key.encode())) > LONGEST_KEY:
        raise UnfitKey(f"a business key of {length} bytes; {LONGEST_KEY} are the most")


def start_once(saga: Saga[Any], new: NewSaga, again: Again, *, refuses: bool = True) -> Started:
    """Write the row of a saga unless its business key is taken.

    :raises AlreadyStarted: if it is, and ``again`` says so
    :raises Locked: if its aggregate is in another hand, and its lock says so
    :raises UnfitKey: if the key could not be stored
    """
    refuse_unfit(new.key)
    attempt = new
    while True:
        started = _insert(saga, attempt, refuses=refuses)
        if started is not None:
            return started
        sometimes("start.repeated")
        if again is not Again.AFTER_END:
            return _repeated(new, again)
        number, saga_id, ended = last_run(new.name, new.key)
        if not ended:
            return Started(saga_id=saga_id, is_new=False)
        attempt = replace(new, key=f"{new.key}#{number + 1}")


def _repeated(new: NewSaga, again: Again) -> Started:
    first = stops.by_key(new.name, new.key)
    if again is Again.REFUSE:
        raise refusal(new, first)
    return Started(saga_id=first, is_new=False)


def refusal(new: NewSaga, first: UUID) -> AlreadyStarted:
    """Return what a second start is told that is to be refused."""
    refused = AlreadyStarted(f"{new.name} {new.key} was started before: saga {first}")
    refused.saga_id = first
    return refused


def _insert(saga: Saga[Any], new: NewSaga, *, refuses: bool) -> Started | None:
    if saga.lock is None:
        inserted = stops.insert(new)
        return None if inserted is None else Started(saga_id=inserted, is_new=True)
    if _is_taken(new):
        return None
    target = saga.lock.on(codec.decode(saga.state, new.state))
    taking = locks.take(target, new.saga_id)
    if taking is Taking.MET:
        if _is_taken(new):
            return None  # whoever holds the lock has just started under this very key
        if saga.lock.meeting is Meeting.REFUSE and refuses:
            raise locks.refusal(target)
        sometimes("lock.awaited")
        inserted = stops.insert(
            new, waiting_for=what_for(target), asleep=clock.seconds_until(new.deadline_at)
        )
    else:
        inserted = stops.insert(new)
    if inserted is None:
        # Had before, it is the lock of the saga that was started first, under the same id.
        if taking is Taking.TAKEN:
            let_go(target, new.saga_id)
        return None
    return Started(saga_id=inserted, is_new=True, is_asleep=taking is Taking.MET)


def _is_taken(new: NewSaga) -> bool:
    with engine_cursor() as cursor:
        cursor.execute("SELECT 1 FROM sagas_saga WHERE name = %s AND key = %s", [new.name, new.key])
        return cursor.fetchone() is not None


# The runs under one key are numbered without a gap: key, key#2, key#3.
_LAST_RUN = """
WITH RECURSIVE run (number, key, id, ended) AS (
    SELECT 1, key, id, finished_at IS NOT NULL FROM sagas_saga
    WHERE name = %(name)s AND key = %(key)s
    UNION ALL
    SELECT number + 1, s.key, s.id, s.finished_at IS NOT NULL FROM run JOIN sagas_saga AS s
        ON s.name = %(name)s AND s.key = %(key)s || '#' || (number + 1))
SELECT number, id, ended FROM run ORDER BY number DESC LIMIT 1
"""


def last_run(name: str, key: str) -> tuple[int, UUID, bool]:
    """Return the number of the last run under a business key, its saga, and whether it ended."""
    with cursor_of(ENGINE) as cursor:
        cursor.execute(_LAST_RUN, {"name": name, "key": key})
        number, saga_id, ended = cursor.fetchone()
    return number, saga_id, ended
