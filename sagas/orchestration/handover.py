"""Semantic locks handed on, in the commit that ends their holder.

# Note [First the lock, then who waits]
Whoever ends locks the row of its lock and then looks for the oldest saga that waits for it.
Whoever meets a lock shares that row until its own commit, and looks again when it is gone. So a
holder that ends while somebody begins to wait either waits for that commit and finds the waiter,
or has handed the lock on before, and the waiter meets nobody or the next one. Without that, the
last look of one and the commit of the other could pass each other, and the waiter would sleep
until its deadline. The order is always: lock row, then the row of who waits.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings

from sagas.conf import conf
from sagas.core.definition import Saga
from sagas.failpoints import failpoint
from sagas.orchestration import registry
from sagas.sometimes import sometimes
from sagas.statements import cursor_of
from sagas.transactions import after_commit

PREFIX = "lock:"
Aggregate = tuple[str, UUID]


def is_lock(waiting_for: str | None) -> bool:
    """Return whether what a saga sleeps for is a lock."""
    return waiting_for is not None and waiting_for.startswith(PREFIX)


def what_for(target: Aggregate) -> str:
    """Return how the row of a saga says that it waits for this aggregate."""
    return f"{PREFIX}{target[0]}/{target[1]}"


def target_of(waiting_for: str) -> Aggregate:
    """Return the aggregate that a waiting saga names."""
    kind, _, target_id = waiting_for.removeprefix(PREFIX).rpartition("/")
    return kind, UUID(target_id)


_HELD = "SELECT target_type, target_id FROM sagas_lock WHERE saga_id = %s FOR UPDATE"
_NEXT = """
SELECT id FROM sagas_saga
WHERE waiting_for = %s AND status = 'running' AND parked_at IS NULL
ORDER BY started_at, id LIMIT 1
"""
_WAKE = """
UPDATE sagas_saga SET waiting_for = NULL, not_before = NULL, hints = 0,
    due_at = CASE WHEN leased_until IS NULL
        THEN clock_timestamp() + make_interval(secs => %(grace)s) ELSE due_at END,
    updated_at = clock_timestamp()
WHERE id = %(id)s AND waiting_for = %(what)s AND status = 'running' AND parked_at IS NULL
"""
_GIVE = """
UPDATE sagas_lock SET saga_id = %(id)s, taken_at = clock_timestamp()
WHERE target_type = %(type)s AND target_id = %(target)s
"""


def let_go(target: Aggregate, saga_id: UUID) -> None:
    """Give back a lock that was taken for a saga which does not start after all."""
    with cursor_of("sagas") as cursor:
        cursor.execute(
            "DELETE FROM sagas_lock WHERE target_type = %s AND target_id = %s AND saga_id = %s",
            [*target, saga_id],
        )


def hand_on(name: str, version: int, saga_id: UUID) -> None:
    """Give the lock of a saga that ends to the oldest that waits; part of the last commit.

    See Note [First the lock, then who waits].
    """
    if has_no_lock(name, version):
        return
    with cursor_of("sagas") as cursor:
        cursor.execute(_HELD, [saga_id])
        for kind, target_id in cursor.fetchall():
            _hand_on(cursor, (kind, target_id), saga_id)


def has_no_lock(name: str, version: int) -> bool:
    """Return whether a saga surely has no lock: its definition has none, and had none before."""
    saga: Saga[Any] | None = registry.SAGAS.get((name, version))
    may_have_changed = "sagas.E010" in settings.SILENCED_SYSTEM_CHECKS
    return saga is not None and saga.lock is None and not may_have_changed


def _hand_on(cursor: Any, target: Aggregate, saga_id: UUID) -> None:
    what = what_for(target)
    while True:
        cursor.execute(_NEXT, [what])
        row = cursor.fetchone()
        if row is None:
            let_go(target, saga_id)
            return
        told = {"id": row[0], "what": what, "grace": conf.HINT_GRACE}
        cursor.execute(_WAKE, told)
        if cursor.rowcount == 1:
            break
        # It was canceled or parked between the two statements: the next one.
    cursor.execute(_GIVE, {"id": row[0], "type": target[0], "target": target[1]})
    sometimes("lock.handed_on")
    after_commit(lambda: _ring(row[0]))


def _ring(saga_id: UUID) -> None:
    from sagas.orchestration.sweep import continue_saga

    failpoint("lock.handed_on")
    continue_saga(saga_id)


def ended(name: str, version: int, saga_id: UUID, parent_id: UUID | None) -> None:
    """Let those go on who wait for the end of a saga; part of the commit that ends it."""
    if parent_id is not None:
        after_commit(_bell_of(parent_id))
    hand_on(name, version, saga_id)


def _bell_of(parent_id: UUID) -> Callable[[], None]:
    return lambda: _ring_parent(parent_id)


def _ring_parent(parent_id: UUID) -> None:
    from sagas.orchestration.sweep import continue_saga

    failpoint("child.committed")
    continue_saga(parent_id)
