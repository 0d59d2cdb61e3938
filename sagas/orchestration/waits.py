"""Arriving at a step that waits: go on with what is there, or sleep until it comes.

# Note [First the row, then the signals]
Whoever waits locks the saga's row, looks for a signal, and sleeps when there is none. Whoever
signals locks the same row, writes the signal, and wakes the saga when it sleeps. Both lock first
and read after, in statements of their own, so one of them sees what the other has done. Without the
lock a signal that comes between the look and the commit would wake nobody.
"""

from datetime import datetime, timedelta
from typing import Any

from sagas import clock
from sagas.core import codec
from sagas.core.commands import Rejected
from sagas.core.definition import Step
from sagas.core.errors import SagasError
from sagas.core.waits import Lasting, Otherwise, SignalAwaited, TimeAwaited
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.orchestration import signals
from sagas.orchestration.signals import Kept
from sagas.orchestration.steps import StepRejected, move_on, turn_round
from sagas.orchestration.store import Claim, StaleFencingToken, engine_cursor
from sagas.orchestration.work import Done, Waiting, Work
from sagas.sometimes import sometimes
from sagas.transactions import engine_transaction

NOT_SIGNALED = "not_signaled"
"""Why a saga compensates whose signal did not come in time."""

LOOK_AGAIN = timedelta(hours=1)
"""How long a saga without a deadline sleeps for something that wakes it; nothing relies on it."""

# The same text wakes and sleeps, so it is made in one place.
_LOCK = """
SELECT CASE WHEN waiting_for = %(what)s THEN wait_until END FROM sagas_saga
WHERE id = %(id)s AND status = %(status)s AND cursor = %(cursor)s AND fencing_token = %(token)s
FOR UPDATE
"""

_SLEEP = """
UPDATE sagas_saga SET waiting_for = %(what)s, wait_until = %(until)s, leased_until = NULL,
    attempts = 0, hints = 0,
    not_before = statement_timestamp() + make_interval(secs => %(seconds)s),
    due_at = statement_timestamp() + make_interval(secs => %(seconds)s),
    updated_at = statement_timestamp()
WHERE id = %(id)s AND status = %(status)s AND cursor = %(cursor)s AND fencing_token = %(token)s
"""


def what_for(step: Step[Any]) -> str:
    """Return what a saga at this step waits for, as its row says it."""
    if isinstance(step.awaits, SignalAwaited):
        return f"signal:{step.name}"
    if isinstance(step.awaits, TimeAwaited):
        return f"timer:{step.name}"
    return f"child:{step.name}"


def wait_for_signal(work: Work, awaits: SignalAwaited) -> Done:
    """Go on with the oldest signal, or with the end of the wait; else sleep.

    See Note [First the row, then the signals].

    :raises Waiting: if the saga sleeps now
    :raises StepRejected: if the wait has ended and the saga compensates
    """
    stopped: SagasError = Waiting()
    with engine_transaction(work.context):
        until = lock(work)
        found = signals.oldest(work.claimed.saga_id, work.step.name)
        if found is not None:
            return _go_on_with(work, awaits, found)
        until = until or _end(work, awaits.within)
        if until > clock.now(work.claimed.ahead):
            fall_asleep(work, until)
        elif awaits.otherwise is Otherwise.GO_ON:
            sometimes("wait.ended")
            return move_on(work, work.state, {"signaled": False})
        else:
            sometimes("wait.ended")
            turn_round(work, Rejected(NOT_SIGNALED))
            stopped = StepRejected(NOT_SIGNALED)
    raise stopped


def wait_for_time(work: Work, awaits: TimeAwaited) -> Done:
    """Go on when the time has passed; else sleep until then.

    :raises Waiting: if the saga sleeps now
    """
    with engine_transaction(work.context):
        until = lock(work) or _end(work, awaits.lasts)
        if until <= clock.now(work.claimed.ahead):
            return move_on(work, work.state, None)
        fall_asleep(work, until)
    raise Waiting


def _go_on_with(work: Work, awaits: SignalAwaited, found: Kept) -> Done:
    payload: Any = codec.decode(awaits.payload, found.payload)
    signals.consume(found, work.number)
    keep = work.step.keep
    state = work.state if keep is None else keep(work.state, payload)
    return move_on(work, state, {"signaled": True, "key": found.key, "payload": found.payload})


def _end(work: Work, lasting: Lasting) -> datetime:
    length = lasting if isinstance(lasting, timedelta) else lasting(work.state)
    return clock.now(work.claimed.ahead) + length


def lock(work: Work) -> datetime | None:
    """Take the saga's row for the rest of the transaction, and return the end of its wait.

    None on the first arrival: the end of a wait is stored once, and no later claim moves it.

    :raises StaleFencingToken: if the saga is no longer this worker's
    """
    with engine_cursor() as cursor:
        cursor.execute(_LOCK, {**_row(work.claimed), "what": what_for(work.step)})
        row = cursor.fetchone()
    if row is None:
        raise StaleFencingToken
    until: datetime | None = row[0]
    return until


def fall_asleep(work: Work, until: datetime | None) -> None:
    """Write that the saga waits, as the last statement of a transaction that has its lock.

    :param until: the end of the wait in business time; None if it has none of its own
    """
    claimed = work.claimed
    seconds = clock.seconds_until(min(filter(None, (until, _deadline(claimed)))), claimed.ahead)
    with engine_cursor() as cursor:
        cursor.execute(
            _SLEEP,
            {
                **_row(claimed),
                "what": what_for(work.step),
                "until": until,
                "seconds": seconds,
            },
        )
    failpoint("wait.before_commit", work.place)


def _deadline(claimed: Claim) -> datetime:
    """Return when to look again although nothing has come."""
    turns = claimed.status == Status.RUNNING and not claimed.past_return
    return claimed.deadline_at if turns else clock.now(claimed.ahead) + LOOK_AGAIN


def _row(claimed: Claim) -> dict[str, Any]:
    return {
        "id": claimed.saga_id,
        "status": claimed.status,
        "cursor": claimed.cursor,
        "token": claimed.token,
    }
