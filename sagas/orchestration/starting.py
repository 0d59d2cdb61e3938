"""A saga starts once under its business key, and with its lock in hand or asleep for it."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sagas import clock
from sagas.core import codec
from sagas.core.definition import Saga
from sagas.core.errors import SagasError
from sagas.core.locks import Meeting
from sagas.error_texts import storable
from sagas.models.saga import SagaInstance
from sagas.orchestration import insertion, locks
from sagas.orchestration.handover import let_go, what_for
from sagas.orchestration.insertion import NewSaga
from sagas.orchestration.limits import within_of
from sagas.orchestration.locks import Taking
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
    """A business key is a text of 1 to 1000 bytes that does not look like a later run's."""


class IdTaken(SagasError):
    """The id that a caller has chosen is that of another saga."""


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
    if not isinstance(key, str):
        raise UnfitKey(f"a business key is a text, and {key!r:.80} is none: write str(key)")
    if not key:
        raise UnfitKey("a business key is empty: all who have none would share one saga")
    if storable(key) != key:
        raise UnfitKey("a business key has a zero byte, or half of a surrogate pair")
    if (length := len(key.encode())) > LONGEST_KEY:
        raise UnfitKey(f"a business key of {length} bytes; {LONGEST_KEY} are the most")


_LATER_RUN: Final = re.compile(r".*#[0-9]+", re.DOTALL)


def refuse_key_of_a_later_run(name: str, key: str) -> None:
    """See to it that nobody starts a saga under a key that a later run of another has or will have.

    One that was started under such a key before they were refused is still returned under it.

    :raises UnfitKey: if the key ends like that of a later run, or could not be stored
    """
    refuse_unfit(key)
    if _LATER_RUN.fullmatch(key) is None:
        return
    if SagaInstance.objects.filter(name=name, key=key, run=1).exists():
        return
    raise UnfitKey(
        f"a business key that ends in # and a number, {key!r:.80}, is that of a later run: end it"
        " otherwise, or give the key without the number and again=Again.AFTER_END"
    )


_LIKE_A_LATER_RUN: Final = re.compile(r".*#[0-9]+~*", re.DOTALL)


def key_of_a_child(key: str) -> str:
    """Return the key under which a child starts, which is never that of a later run.

    Nobody could tell a parent on its way to choose another, so one that ends like it gets a mark.
    One that ends in the mark gets one more: two keys stay two.
    """
    return f"{key}~" if _LIKE_A_LATER_RUN.fullmatch(key) else key


def start_once(saga: Saga[Any], new: NewSaga, again: Again, *, refuses: bool = True) -> Started:
    """Write the row of a saga unless its business key is taken.

    :raises AlreadyStarted: if it is, and ``again`` says so
    :raises IdTaken: if its id is that of another saga
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
        first = insertion.by_key(attempt.name, attempt.key)
        if first is None:
            raise id_taken(new)
        if again is Again.REFUSE:
            raise refusal(new, first)
        if again is Again.SAME:
            return Started(saga_id=first, is_new=False)
        last = last_run(new.name, new.key)
        if not last.ended:
            return Started(saga_id=last.saga_id, is_new=False)
        attempt = last.next(new)


def refusal(new: NewSaga, first: UUID) -> AlreadyStarted:
    """Return what a second start is told that is to be refused."""
    refused = AlreadyStarted(f"{new.name} {new.key} was started before: saga {first}")
    refused.saga_id = first
    return refused


def id_taken(new: NewSaga) -> IdTaken:
    """Return what whoever starts a saga under the id of another one is told."""
    return IdTaken(f"{new.saga_id} is the id of another saga than {new.name} {new.key}")


def _insert(saga: Saga[Any], new: NewSaga, *, refuses: bool) -> Started | None:
    within = within_of(saga, new.cursor)
    if saga.lock is None:
        inserted = insertion.insert(new, within=within)
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
        inserted = insertion.insert(
            new, waiting_for=what_for(target), asleep=clock.seconds_until(new.deadline_at)
        )
    else:
        inserted = insertion.insert(new, within=within)
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


# The runs under one key are numbered: key, key#2, key#3. A saga that a caller once started under
# such a key is no run; its number is passed over. A release that numbers no rows may still start
# runs beside this one: what it began after the one before had ended counts while it lives, as it
# does in the migration that brought the column.
_LAST_RUN = """
WITH RECURSIVE taken (number, key, id, finished_at, is_run) AS (
    SELECT 1, key, id, finished_at, true FROM sagas_saga
    WHERE name = %(name)s AND key = %(key)s
    UNION ALL
    SELECT number + 1, s.key, s.id, s.finished_at, s.run = number + 1
        OR s.run = 1 AND s.finished_at IS NULL AND s.started_at >= taken.finished_at
    FROM taken JOIN sagas_saga AS s
        ON s.name = %(name)s AND s.key = %(key)s || '#' || (number + 1))
SELECT (SELECT max(number) FROM taken), id, finished_at IS NOT NULL FROM taken
WHERE is_run ORDER BY number DESC LIMIT 1
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LastRun:
    """The last saga that was started under a business key."""

    saga_id: UUID
    ended: bool
    taken: int
    """The highest number up to which every one is taken."""

    def next(self, new: NewSaga) -> NewSaga:
        """Return the saga as the run after this one."""
        run = self.taken + 1
        return replace(new, key=f"{new.key}#{run}", run=run)


def last_run(name: str, key: str) -> LastRun:
    """Return the last run under a business key that is taken."""
    with cursor_of(ENGINE) as cursor:
        cursor.execute(_LAST_RUN, {"name": name, "key": key})
        taken, saga_id, ended = cursor.fetchone()
    return LastRun(saga_id=saga_id, ended=ended, taken=taken)
