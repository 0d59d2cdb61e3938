"""Semantic locks as rows: who has an aggregate in hand, and how a saga gets it.

See Note [First the lock, then who waits] in ``handover.py``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from sagas import clock
from sagas.core.definition import Saga
from sagas.core.errors import SagasError
from sagas.failpoints import failpoint
from sagas.orchestration import registry
from sagas.orchestration.handover import Aggregate, is_lock, target_of
from sagas.orchestration.stops import MAY_TURN
from sagas.orchestration.store import Claim, StaleFencingToken
from sagas.sometimes import sometimes
from sagas.statements import cursor_of
from sagas.transactions import transaction

LOOK_AGAIN = timedelta(hours=1)
"""How long a saga that nothing turns sleeps for what wakes it; nothing relies on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Which saga has an aggregate in hand, and how far it is."""

    target_type: str
    target_id: UUID
    saga_id: UUID
    name: str
    key: str
    status: str
    step: str
    """The step under its cursor."""
    since: datetime
    parked_at: datetime | None
    parked_reason: str | None
    waiting: int
    """How many sagas wait for it."""

    @property
    def words(self) -> str:
        """Return in one sentence who has it and when it will be free."""
        who = f"saga {self.name} {self.key} ({self.saga_id})"
        held = f"{self.target_type} {self.target_id} has been held by {who} since {_at(self.since)}"
        if self.parked_at is not None:
            return (
                f"{held}, which is parked since {_at(self.parked_at)} at step {self.step}:"
                f" {self.parked_reason}; it is free when an operator has resumed or compensated"
                " that saga and it has ended"
            )
        doing = "is undoing" if self.status == "compensating" else "is at"
        return f"{held}, which {doing} step {self.step}; it is free when that saga has ended"


class Locked(SagasError):
    """The aggregate is in the hand of another saga."""

    holder: Holder | None = None
    """Who has it."""


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


# -- who has it ------------------------------------------------------------------------------------

_HOLDER = """
SELECT l.target_type, l.target_id, l.saga_id, s.name, s.key, s.status, s.def_version, s.cursor,
    l.taken_at, s.parked_at, s.parked_reason, (SELECT count(*) FROM sagas_saga w
        WHERE w.waiting_for = 'lock:' || l.target_type || '/' || l.target_id)
FROM sagas_lock l JOIN sagas_saga s ON s.id = l.saga_id
"""


def holder_of(target_type: str, target_id: UUID) -> Holder | None:
    """Return the saga that has an aggregate in hand, if one has."""
    found = _holders("WHERE l.target_type = %s AND l.target_id = %s", [target_type, target_id])
    return found[0] if found else None


def held_by(saga_id: UUID) -> list[Holder]:
    """Return what a saga has in hand."""
    return _holders("WHERE l.saga_id = %s", [saga_id])


_HELD = (
    *("target_type", "target_id", "saga_id", "name", "key", "status", "version", "cursor"),
    *("since", "parked_at", "parked_reason", "waiting"),
)


def _holders(where: str, parameters: list[Any]) -> list[Holder]:
    with cursor_of("sagas") as cursor:
        cursor.execute(f"{_HOLDER} {where} ORDER BY l.taken_at", parameters)
        return [_holder(dict(zip(_HELD, row, strict=True))) for row in cursor.fetchall()]


def _holder(found: dict[str, Any]) -> Holder:
    at = found.pop("cursor")
    saga = registry.SAGAS.get((found["name"], found.pop("version")))
    step = saga.steps[at].name if saga and 0 <= at <= saga.last else f"number {at + 1}"
    return Holder(step=step, **found)


# -- taking it -------------------------------------------------------------------------------------

_TAKE = """
INSERT INTO sagas_lock (target_type, target_id, saga_id) VALUES (%(type)s, %(target)s, %(saga)s)
ON CONFLICT (target_type, target_id) DO NOTHING
"""
_MEET = """
SELECT saga_id FROM sagas_lock WHERE target_type = %(type)s AND target_id = %(target)s FOR SHARE
"""


class Taking(Enum):
    """What became of asking for a lock."""

    TAKEN = "taken"
    HAD = "had"
    """The saga has it already: by a start under the same id, or handed on to it."""
    MET = "met"


def take(target: Aggregate, saga_id: UUID) -> Taking:
    """Take a lock, or meet it and keep its holder from ending unseen until the commit.

    See Note [First the lock, then who waits].
    """
    told: dict[str, Any] = {"type": target[0], "target": target[1], "saga": saga_id}
    with cursor_of("sagas") as cursor:
        while True:
            cursor.execute(_TAKE, told)
            if cursor.rowcount == 1:
                return Taking.TAKEN
            cursor.execute(_MEET, told)
            row = cursor.fetchone()
            if row is not None:
                return Taking.HAD if row[0] == saga_id else Taking.MET
            # Whoever had it has ended between the two statements.


def is_held(target: Aggregate) -> bool:
    """Return whether a saga has a lock; whoever is about to let it go is waited for."""
    told: dict[str, Any] = {"type": target[0], "target": target[1]}
    with cursor_of("sagas") as cursor:
        cursor.execute(_MEET, told)
        return cursor.fetchone() is not None


def refusal(target: Aggregate) -> Locked:
    """Return what is said to whoever meets a lock and does not wait."""
    holder = holder_of(*target)
    assert holder is not None, "take() keeps it until the end of the transaction"
    return refused_by(holder)


def refused_by(holder: Holder) -> Locked:
    """Return what is said of whoever has a lock."""
    locked = Locked(holder.words)
    locked.holder = holder
    sometimes("lock.refused")
    return locked


_AWAKE = """
UPDATE sagas_saga SET waiting_for = NULL, updated_at = clock_timestamp()
WHERE id = %(id)s AND fencing_token = %(token)s AND status = 'running'
"""
# Past its deadline it is due now, for the sweep that turns it round, unless nothing turns it.
_UNTIL = f"""statement_timestamp() + make_interval(secs => CASE WHEN {MAY_TURN}
    THEN %(seconds)s ELSE greatest(%(seconds)s, %(later)s) END)"""
_SLEEP = """
UPDATE sagas_saga AS s SET leased_until = NULL, attempts = attempts - 1,
    not_before = {until}, due_at = {until}, updated_at = statement_timestamp()
WHERE id = %(id)s AND fencing_token = %(token)s AND status = 'running'
""".replace("{until}", _UNTIL)


def obtain(claimed: Claim) -> bool:
    """Take the lock for a saga that slept for it and was rung, or let it sleep on.

    Whoever ends hands its lock on, so this finds it taken for the saga or still in another hand;
    it is what makes every other ring harmless: the sweeper's, an operator's, a false one.

    :raises StaleFencingToken: if the saga is no longer this worker's
    """
    assert claimed.waiting_for is not None
    with transaction("sagas"):
        got = take(target_of(claimed.waiting_for), claimed.saga_id) is not Taking.MET
        told: dict[str, Any] = {"id": claimed.saga_id, "token": claimed.token}
        if not got:
            seconds = clock.seconds_until(claimed.deadline_at, claimed.ahead)
            told |= {"seconds": seconds, "later": LOOK_AGAIN.total_seconds()}
        with cursor_of("sagas") as cursor:
            cursor.execute(_AWAKE if got else _SLEEP, told)
            if cursor.rowcount != 1:
                raise StaleFencingToken
        failpoint("lock.before_commit")
    failpoint("lock.committed")
    return got


def words_for(waiting_for: str) -> str:
    """Return who has what a saga sleeps for, in one sentence."""
    target = target_of(waiting_for)
    holder = holder_of(*target)
    return holder.words if holder else f"{target[0]} {target[1]} is free, and it is about to go on"


def sleeps_on(saga: Saga[Any], claimed: Claim) -> bool:
    """Return whether a saga that was claimed has still no lock, and sleeps again.

    Also where the definition refuses by now: this one began to wait when it did not.
    """
    return saga.lock is not None and is_lock(claimed.waiting_for) and not obtain(claimed)
