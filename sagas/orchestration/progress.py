"""A long call says that it is alive and how far it has come, and hears that it is not wanted."""

import json
import re
from typing import Any, Final

from psycopg.types.json import Jsonb

from sagas.conf import conf
from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.step_run import StepRun
from sagas.orchestration.run import Run, current_run
from sagas.orchestration.store import StaleFencingToken, engine_cursor
from sagas.sometimes import sometimes
from sagas.transactions import outside_transaction


class UnfitDetail(SagasError):
    """The detail of a heartbeat is JSON of at most 4000 bytes."""


LONGEST_DETAIL = 4000
_ZERO_BYTE: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""As JSON writes it; a backslash before it is one of its own, and the rest is text."""

# The journal row is that of the intent: there is one wherever a call is under way.
_BEAT = """
WITH held AS (
    UPDATE sagas_saga SET leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
        due_at = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE id = %(id)s AND status = %(status)s AND cursor = %(step_no)s
        AND fencing_token = %(token)s AND parked_at IS NULL
    RETURNING id)
UPDATE sagas_steprun AS r SET detail = coalesce(%(detail)s::jsonb, r.detail) FROM held
WHERE r.saga_id = held.id AND r.step_no = %(step_no)s AND r.direction = %(direction)s
"""
# Of a branch the lease is in the same row; the saga is read, and may turn right after.
_BEAT_OF_BRANCH = """
UPDATE sagas_steprun AS r SET detail = coalesce(%(detail)s::jsonb, r.detail),
    leased_until = clock_timestamp() + make_interval(secs => %(lease)s),
    due_at = clock_timestamp() + make_interval(secs => %(lease)s)
FROM sagas_saga AS s
WHERE r.saga_id = %(id)s AND r.step_no = %(step_no)s AND r.direction = 'do'
    AND r.state = 'intended' AND r.fencing_token = %(token)s
    AND s.id = r.saga_id AND s.status = 'running' AND s.cursor = %(group)s
"""


def heartbeat(detail: Any = None) -> None:
    """Renew the lease of the step that is under way, and keep how far it has come.

    For the ``call=`` of a remote step. It prolongs no time limit of the task.

    :param detail: small JSON that operators see and the next attempt reads; None leaves the last
    :raises StaleFencingToken: if the saga is no longer this worker's: it was canceled, its time was
        over, or another has it; let it through, and call nothing more
    :raises InsideTransaction: if a transaction is open
    :raises NotInAStep: if no step is running here
    :raises UnfitDetail: if the detail is no JSON, or too long
    """
    outside_transaction()
    run = current_run()
    told = _told(run, detail)
    with engine_cursor() as cursor:
        cursor.execute(_BEAT if run.group is None else _BEAT_OF_BRANCH, told)
        beaten = cursor.rowcount == 1
    failpoint("heartbeat.committed", run.place)
    if not beaten:
        sometimes("heartbeat.refused")
        raise StaleFencingToken


def last_heartbeat() -> Any:
    """Return the detail of the last heartbeat of this step, by whichever attempt; None if none.

    :raises NotInAStep: if no step is running here
    """
    run = current_run()
    found = StepRun.objects.filter(
        saga_id=run.saga_id, step_no=run.step_no, direction=run.direction
    )
    return found.values_list("detail", flat=True).first()


def _told(run: Run, detail: Any) -> dict[str, Any]:
    try:
        written = json.dumps(detail, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as wrong:
        raise UnfitDetail(f"no JSON: {wrong}") from wrong
    if len(written) > LONGEST_DETAIL or _ZERO_BYTE.search(written):
        raise UnfitDetail(f"{len(written)} bytes; {LONGEST_DETAIL} are the most, and no zero byte")
    return {
        "id": run.saga_id,
        "status": "running" if run.direction is Direction.DO else "compensating",
        "step_no": run.step_no,
        "direction": run.direction.value,
        "token": run.token,
        "group": run.group,
        "detail": None if detail is None else Jsonb(detail),
        "lease": conf.LEASE,
    }
