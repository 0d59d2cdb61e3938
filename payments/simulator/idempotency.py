"""Idempotency keys, as a real provider keeps them.

The answer is stored in the transaction of the effect, so that there is never one without the
other, and replayed for a day with its status, a 500 included.
"""

from collections.abc import Callable

from payments.simulator.database import changed, row
from payments.simulator.wire import Answer, Problem

KEY_LIFE = "24 hours"


def once(key: str, fingerprint: str, effect: Callable[[], Answer]) -> Answer:
    """Carry out an effect under its key, or replay what it was answered the first time.

    The lock ends with the transaction; of two requests that meet, one is told to come again.

    :raises Problem: 409 while the first request runs, 400 for another request under the same key
    """
    if not key:
        return effect()
    # A statement of its own: the row is to be read with a snapshot taken after the lock.
    locked = row("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", key)
    if not locked or not locked[0]:
        raise key_in_progress()
    stored = row(
        """SELECT fingerprint, status, body FROM simulator_storedanswer
            WHERE key = %s AND created_at > now() - %s::interval""",
        key,
        KEY_LIFE,
    )
    if stored is None:
        return _store(key, fingerprint, effect())
    if stored[0] != fingerprint:
        raise Problem(
            400,
            "idempotency_mismatch",
            "This key was used for another request.",
            kind="idempotency_mismatch",
        )
    return Answer(status=stored[1], body=stored[2], replayed=True)


def key_in_progress() -> Problem:
    """Return the refusal of a request whose twin is still running."""
    return Problem(
        409,
        "key_in_progress",
        "A request with this key is running.",
        kind="key_in_progress",
        headers={"Retry-After": "1"},
    )


def forget_expired() -> int:
    """Delete the keys whose life is over."""
    return changed(
        "DELETE FROM simulator_storedanswer WHERE created_at < now() - %s::interval", KEY_LIFE
    )


def _store(key: str, fingerprint: str, answer: Answer) -> Answer:
    changed(
        """INSERT INTO simulator_storedanswer (key, fingerprint, status, body, created_at)
            VALUES (%s, %s, %s, %s, now())
            ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint,
                status = excluded.status, body = excluded.body, created_at = excluded.created_at""",
        key,
        fingerprint,
        answer.status,
        answer.body,
    )
    return answer
