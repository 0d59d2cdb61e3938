"""How long a saga may stand at a step, over all attempts: an instant in its row.

``within=`` of a step becomes ``step_deadline_at`` in the commit that moves the cursor to the step,
as business time. Nothing waits for that instant: whoever comes by compares it, as it does with
the saga's own deadline. That is the sweeper, or the worker that takes up a link late.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sagas import clock
from sagas.core.definition import Saga
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.orchestration import stops
from sagas.orchestration.store import Claim, StaleFencingToken, engine_cursor


def within_of(saga: Saga[Any], number: int) -> timedelta | None:
    """Return how long a saga may stand at a step; None if for ever."""
    return saga.steps[number].within if 0 <= number <= saga.last else None


def limit_of(saga: Saga[Any], number: int, claimed: Claim) -> datetime | None:
    """Return until when a claimed saga that comes to a step now may stand there.

    By the clock of the database, as it is compared; who has claimed nothing lets the database say.
    """
    within = within_of(saga, number)
    return None if within is None else clock.now(claimed.ahead) + within


# A saga that slept for its lock stood at its first step without anybody trying it.
_COUNT = """
UPDATE sagas_saga SET step_deadline_at = %(limit)s, updated_at = clock_timestamp()
WHERE id = %(id)s AND status = 'running' AND fencing_token = %(token)s
"""


def counted(saga: Saga[Any], claimed: Claim) -> Claim:
    """Begin to count for a saga that came to its step without: it was asleep for its lock.

    :raises StaleFencingToken: if the saga is no longer this worker's
    """
    if claimed.status != Status.RUNNING or claimed.step_deadline_at is not None:
        return claimed
    limit = limit_of(saga, claimed.cursor, claimed)
    if limit is None:
        return claimed
    told: dict[str, Any] = {"limit": limit, "id": claimed.saga_id, "token": claimed.token}
    with engine_cursor() as cursor:
        cursor.execute(_COUNT, told)
        if cursor.rowcount != 1:
            raise StaleFencingToken
    failpoint("limit.committed")
    return replace(claimed, step_deadline_at=limit)


def is_over(claimed: Claim) -> bool:
    """Return whether the time of a claimed saga, or that of its step, is over and it may turn.

    By the clock of the database, whatever this machine's says: what turns round here is not carried
    on elsewhere.
    """
    if claimed.status != Status.RUNNING or claimed.past_return:
        return False
    limit = min(filter(None, (claimed.deadline_at, claimed.step_deadline_at)))
    return limit <= clock.now(claimed.ahead)


def turn_round(claimed: Claim, saga: Saga[Any]) -> None:
    """Let a claimed saga compensate whose time is over."""
    if claimed.deadline_at <= clock.now(claimed.ahead):
        stops.begin_compensation(claimed.saga_id, failure=stops.DEADLINE, by=None)
    else:
        at = stops.Standing(cursor=claimed.cursor, step=saga.steps[claimed.cursor].name)
        stops.begin_compensation(claimed.saga_id, failure=stops.DEADLINE, by=None, at=at)
