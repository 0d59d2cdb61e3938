"""The barrier rows of a context with a database of its own, and a look at the fence elsewhere.

Colocated, the row is written by the statement that moves the saga (``store.py``).
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from sagas.core import codec
from sagas.core.commands import reply_type
from sagas.core.definition import command_type
from sagas.core.errors import SagasError
from sagas.core.keys import Direction, effect_key
from sagas.models.step_run import RunState
from sagas.orchestration.store import ABANDONED, Claim, StaleFencingToken, engine_cursor
from sagas.orchestration.work import Work
from sagas.orchestration.worker import worker_name
from sagas.statements import cursor_of
from sagas.transactions import table

REASON: Final = "reason"
CLOSED: Final = frozenset({RunState.CANCELED.value, ABANDONED})

_RECORDED = """
SELECT state, reply::text FROM {barrier}
WHERE saga_id = %s AND step_no = %s AND direction = %s AND state <> 'intended'
"""

# Final once it says anything but "intended".
_TAKE = """
INSERT INTO {barrier} AS b (saga_id, step_no, direction, state, reply)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (saga_id, step_no, direction) DO UPDATE
    SET state = excluded.state, reply = excluded.reply WHERE b.state = 'intended'
"""


class BarrierTaken(SagasError):
    """Somebody else has recorded this step run a moment ago."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What the barrier row of a step run says."""

    state: RunState
    reply: Any
    """The reply, or of a rejection the reason."""


_HELD = """
SELECT 1 FROM sagas_saga
WHERE id = %(id)s AND status = %(status)s AND cursor = %(cursor)s AND fencing_token = %(token)s
"""


def check(claimed: Claim, cursor_at: int) -> None:
    """Look whether a saga is still this worker's; only its move can say so for good.

    :raises StaleFencingToken: if it is not
    """
    believed: dict[str, Any] = {
        "id": claimed.saga_id,
        "status": claimed.status,
        "cursor": cursor_at,
        "token": claimed.token,
    }
    with engine_cursor() as cursor:
        cursor.execute(_HELD, believed)
        if cursor.fetchone() is None:
            raise StaleFencingToken


def recorded(work: Work, direction: Direction) -> Recorded | None:
    """Return what a step run came to, or None while nothing is recorded of it.

    :raises StaleFencingToken: if its door is closed, so that it must not run
    """
    sql = _RECORDED.replace("{barrier}", table(work.context, "barrier"))
    with cursor_of(work.context) as cursor:
        cursor.execute(sql, [work.claimed.saga_id, work.number, direction.value])
        row = cursor.fetchone()
    if row is None:
        return None
    state, reply = row
    if state == ABANDONED and reply is not None:
        # A skip whose process died when only this half of it was committed.
        state = RunState.SKIPPED
    if state in CLOSED:
        raise StaleFencingToken
    return Recorded(state=RunState(state), reply=_decoded(work, direction, state, reply))


_JOURNAL = """
INSERT INTO sagas_steprun AS r (saga_id, step_no, name, context, direction, state, effect_key,
    attempts, worker, task_id, committed_at, fencing_token, hints)
VALUES (%(id)s, %(step_no)s, %(name)s, %(context)s, 'do', %(state)s, %(key)s, 1, %(worker)s, '',
    clock_timestamp(), 0, 0)
ON CONFLICT (saga_id, step_no, direction) DO UPDATE SET state = excluded.state
    WHERE r.state IN ('intended', 'canceled') AND excluded.state <> r.state
"""


def journal_forward(work: Work) -> None:
    """Let the journal say what was done before it is undone; part of the undo's move.

    A cancel that came between the two commits of a step has kept it out of the journal.
    """
    with cursor_of(work.context) as cursor:
        cursor.execute(
            f"SELECT state FROM {table(work.context, 'barrier')}"  # noqa: S608 - the name is checked
            " WHERE saga_id = %s AND step_no = %s AND direction = 'do'",
            [work.claimed.saga_id, work.number],
        )
        (state,) = cursor.fetchone() or (None,)
    if state in {None, RunState.CANCELED}:
        return
    told: dict[str, Any] = {
        "id": work.claimed.saga_id,
        "step_no": work.number,
        "name": work.step.name,
        "context": work.context,
        "state": RunState.INTENDED.value if state == ABANDONED else state,
        "key": effect_key(work.claimed.saga_id, work.step.name, Direction.DO),
        "worker": worker_name(),
    }
    with engine_cursor() as cursor:
        cursor.execute(_JOURNAL, told)


def take(work: Work, direction: Direction, state: RunState, reply: Any) -> None:
    """Record what a step run came to, as the last statement of its effect's transaction.

    :raises BarrierTaken: if something is recorded already
    """
    written = {REASON: reply} if state == RunState.REJECTED else codec.encode(reply)
    sql = _TAKE.replace("{barrier}", table(work.context, "barrier"))
    encoded = None if written is None else Jsonb(written)
    row: list[Any] = [work.claimed.saga_id, work.number, direction.value, state.value, encoded]
    with cursor_of(work.context) as cursor:
        cursor.execute(sql, row)
        if cursor.rowcount != 1:
            raise BarrierTaken


def _decoded(work: Work, direction: Direction, state: str, reply: str | None) -> Any:
    found = None if reply is None else json.loads(reply)
    if found is None or direction is Direction.UNDO:
        return None
    if state == RunState.REJECTED:
        return str(found[REASON])
    if state != RunState.DONE or work.step.do is None:
        return found
    return codec.decode(reply_type(command_type(work.step.do)), found)
