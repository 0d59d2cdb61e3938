"""The only reader of the clock for business time.

Leases, delays and sweeps use the database's own clock. Deadlines and business dates use
``now()``, which the fast profile may move: the offset is one row, readable in SQL as
``sagas.now()``.
"""

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection

from sagas.core.errors import SagasError


class ClockIsFixed(SagasError):
    """The business clock can be moved only under CONCORD_PROFILE=fast."""


def _movable() -> bool:
    return bool(getattr(settings, "FAST", False))


def offset() -> timedelta:
    """Return how far the business clock is ahead of the real one."""
    if not _movable():
        return timedelta(0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT ahead FROM sagas_clock")
        row = cursor.fetchone()
    return row[0] if row else timedelta(0)


# Whoever turns business time into real time inside a transaction, and whoever moves the clock.
_TURNING = "SELECT pg_advisory_xact_lock{}(20261120, 1)"


def seconds_until(instant: datetime, ahead: timedelta = timedelta(0)) -> float:
    """Return the real seconds until an instant of business time, at least 0.

    Called in the transaction that stores them: a clock that moves before its commit comes after
    it, and finds the row.

    :param ahead: how far this machine's clock is ahead of the one by which the instant is told
    """
    if _movable():
        with connection.cursor() as cursor:
            cursor.execute(_TURNING.format("_shared"))
    return max(0.0, (instant - now(ahead)).total_seconds())


def real() -> datetime:
    """Return the machine's own time, for journals; never for a decision."""
    return datetime.now(UTC)


def ahead_of(database: datetime) -> timedelta:
    """Return how far the machine's clock is ahead of the database's, which has told it just now."""
    return real() - database


def now(ahead: timedelta = timedelta(0)) -> datetime:
    """Return the business time, aware and in UTC.

    :param ahead: how far this machine's clock is ahead of the one that is to tell it
    """
    return real() + offset() - ahead


def travel(distance: timedelta) -> None:
    """Move the business clock, and let the sweeper look at every saga again.

    :raises ClockIsFixed: outside the fast profile
    """
    if not _movable():
        raise ClockIsFixed
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sagas_clock (id, ahead) VALUES (1, make_interval(secs => %s))"
            " ON CONFLICT (id) DO UPDATE SET ahead = sagas_clock.ahead + excluded.ahead",
            [distance.total_seconds()],
        )
        # Those who have read the old offset have committed what they made of it.
        cursor.execute(_TURNING.format(""))
        # Deadlines were turned into real due times under the old offset.
        cursor.execute(
            "UPDATE sagas_saga SET due_at = clock_timestamp()"
            " WHERE due_at IS NOT NULL AND leased_until IS NULL"
        )
        cursor.execute(
            "UPDATE sagas_watchedflow SET due_at = clock_timestamp() WHERE due_at IS NOT NULL"
        )
