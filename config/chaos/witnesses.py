"""What is asked at rest: orders, keys, books, the provider's list, when each saga ended."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from django.db import DatabaseError, connection

from config import audit
from config.chaos.figures import Life
from config.chaos.judge import Found, Money
from config.chaos.verdict import InvariantLine
from config.invariants import INVARIANTS, Invariant, When, evaluate
from config.replay.provider import ProviderList

ALWAYS: Final = tuple(
    Invariant(
        id=each.id,
        name=each.name,
        parts=tuple(part for part in each.parts if part.when is not When.REST),
    )
    for each in INVARIANTS
    if any(part.when is not When.REST for part in each.parts)
)
_ORDERS: Final = """
SELECT o.order_id::text, o.status, o.total, o.payment_id::text, s.parked_at IS NOT NULL
FROM audit.v_orders o LEFT JOIN audit.v_sagas s USING (saga_id)
"""
_KEYS: Final = """
SELECT key, location FROM audit.v_idempotency WHERE status = 202 AND location IS NOT NULL
"""
_BOOKS: Final = """
SELECT payment_id::text, sum(captured), sum(open_hold) FROM audit.v_payments GROUP BY payment_id
"""
_LIVES: Final = """
SELECT saga_id::text, extract(epoch FROM started_at), extract(epoch FROM finished_at),
    parked_at IS NOT NULL AND finished_at IS NULL
FROM audit.v_sagas
"""
_UNENDED: Final = """
SELECT count(*) FROM audit.v_sagas WHERE finished_at IS NULL AND parked_at IS NULL
"""
_STUCK: Final = """
SELECT format('%s %s %s is %s at step %s, attempts %s, due %s, lease %s, not before %s, %s',
    name, def_version, saga_id, status, cursor, attempts, due_at, leased_until, not_before,
    coalesce(parked_reason, failure, ''))
FROM audit.v_sagas WHERE finished_at IS NULL ORDER BY started_at LIMIT 30
"""
_SLOWEST: Final = """
SELECT json_build_object('saga', s.saga_id, 'began', extract(epoch FROM s.started_at),
    'took', extract(epoch FROM s.finished_at - s.started_at), 'status', s.status,
    'failure', s.failure, 'claims', s.fencing_token, 'steps', (
        SELECT json_agg(format('%s %s %s +%s s, %s attempts', r.name, r.direction, r.state,
            round(extract(epoch FROM r.committed_at - s.started_at), 1), r.attempts)
            ORDER BY r.committed_at)
        FROM audit.v_saga_steps r WHERE r.saga_id = s.saga_id), 'faults', (
        SELECT json_agg(format('%s +%s s, attempt %s: %s', f.name,
            round(extract(epoch FROM f.at - s.started_at), 1), f.attempt, left(f.error, 200))
            ORDER BY f.at)
        FROM audit.v_step_faults f WHERE f.saga_id = s.saga_id))
FROM audit.v_sagas s WHERE s.finished_at IS NOT NULL
ORDER BY s.finished_at - s.started_at DESC LIMIT 12
"""


def asked(question: str) -> list[tuple[Any, ...]]:
    """Ask one snapshot of the views."""
    with audit.snapshot() as cursor:
        cursor.execute(question)
        return list(cursor.fetchall())


def orders() -> list[Found]:
    """Return every order."""
    return [
        Found(order_id=name, status=status, total=int(total), payment_id=payment, parked=parked)
        for name, status, total, payment, parked in asked(_ORDERS)
    ]


def keyed() -> dict[str, str]:
    """Return the order that each key stands for."""
    return {key: location.rstrip("/").rpartition("/")[2] for key, location in asked(_KEYS)}


def books() -> dict[str, Money]:
    """Return what our books say of each payment in which money moved."""
    return {
        name: Money(captured=int(captured), held=int(held))
        for name, captured, held in asked(_BOOKS)
        if captured or held
    }


def provider() -> dict[str, Money]:
    """Return what the provider says of each payment in which money moved."""
    found = {}
    for reference, intents in ProviderList().intents().items():
        money = Money(
            captured=sum(intent["amount_captured"] for intent in intents),
            held=sum(
                intent["amount_authorized"]
                for intent in intents
                if intent["status"] == "authorized"
            ),
        )
        if money.captured or money.held:
            found[reference] = money
    return found


def lives() -> list[Life]:
    """Return when each saga began and ended."""
    return [
        Life(
            saga_id=name,
            began=float(began),
            ended=None if ended is None else float(ended),
            parked=parked,
        )
        for name, began, ended, parked in asked(_LIVES)
    ]


def unended() -> int:
    """Return how many sagas are neither ended nor parked."""
    return int(asked(_UNENDED)[0][0])


def stuck() -> list[str]:
    """Describe what has not ended."""
    return [str(row[0]) for row in asked(_STUCK)]


def slowest() -> list[dict[str, Any]]:
    """Describe the sagas that took longest, step by step, for whoever asks why."""
    return [row[0] for row in asked(_SLOWEST)]


def at_rest() -> list[InvariantLine]:
    """Evaluate everything that has to hold when nothing is under way."""
    return evaluated(INVARIANTS, at_rest=True)


def evaluated(invariants: Sequence[Invariant], *, at_rest: bool) -> list[InvariantLine]:
    """Evaluate invariants on one snapshot."""
    with audit.snapshot() as cursor:
        return [
            InvariantLine(
                id=each.id,
                name=each.name,
                checked=each.checked,
                violations=each.violations,
                worst=each.worst,
            )
            for each in evaluate(cursor, invariants, at_rest=at_rest)
        ]


class Poll:
    """Takes a snapshot each second and holds what has to hold always against it."""

    EVERY: Final = 1.0
    SHARE: Final = 0.25
    """Most of the time that asking may take, for the machine has other work."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.lines: list[InvariantLine] = []
        self.snapshots = 0
        self.skipped = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Stop, after the snapshot that is being looked at."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        pause = self.EVERY
        while not self._stop.wait(pause):
            began = time.monotonic()
            self.look()
            took = time.monotonic() - began
            pause = max(self.EVERY - took, took * (1 / self.SHARE - 1))
        connection.close()

    def look(self) -> None:
        """Take one snapshot."""
        try:
            self.lines += evaluated(ALWAYS, at_rest=False)
            self.snapshots += 1
        except (DatabaseError, psycopg.Error):
            connection.close()
            self.skipped += 1
