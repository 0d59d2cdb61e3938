"""The commit of a no: the saga turns round, with the no among its attempts.

Note [The refused step is passed]

A compensation visits every step, also the one whose participant said no. A local step has then left
nothing, and the commit of the no is the one that knows it. So if it is the last step, with which
the way back would begin, this commit writes the visit too, and the cursor stands one step below. A
remote step is visited as ever: a worker that froze before its call may still make it.
"""

from typing import Final

from sagas.core.commands import Rejected
from sagas.core.definition import command_type
from sagas.core.keys import Direction, effect_key
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import store
from sagas.orchestration.handlers import handler_of
from sagas.orchestration.store import Target
from sagas.orchestration.work import Done, Work, done, entry
from sagas.transactions import is_detached

_FAULT: Final = """,
fault AS (
    INSERT INTO sagas_stepfault (id, saga_id, step_no, name, direction, attempt, kind, error,
        traceback, worker, task_id)
    SELECT %(fault_id)s, id, %(step_no)s, %(name)s, %(direction)s, %(attempts)s, 'rejected',
        %(failure)s, '', %(worker)s, %(task)s
    FROM moved)"""

_PASSED: Final = """,
passed AS (
    INSERT INTO {barrier} (saga_id, step_no, direction, state)
    SELECT id, %(step_no)s, 'undo', 'nothing' FROM moved),
passed_journal AS (
    INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state, effect_key,
        attempts, worker, task_id, started_at, committed_at, fencing_token)
    SELECT saga_id, %(step_no)s, %(name)s, %(context)s, 'undo', 'nothing', %(undo_key)s, 1,
        %(worker)s, %(task)s, %(started)s, clock_timestamp(), 0
    FROM journal)"""


def turn_step_round(work: Work, rejected: Rejected) -> Done:
    """Turn the saga round since a step was refused that is no branch; the last of a transaction.

    :raises StaleFencingToken: if the saga is no longer this worker's
    """
    passes = _is_passed(work)
    cursor = work.saga.last - passes
    target = Target(
        status=Status.COMPENSATING,
        cursor=cursor,
        past_return=False,
        keep_lease=work.turns_here(cursor),
        failure=rejected.reason,
        failed_step=work.step.name,
        new_token=True,
    )
    store.move(
        work.claimed,
        entry(work, Direction.DO, RunState.REJECTED),
        target,
        _FAULT + _PASSED if passes else _FAULT,
        fault_id=uuid7(),
        undo_key=effect_key(work.claimed.saga_id, work.step.name, Direction.UNDO),
    )
    failpoint("reject.before_commit", work.place)
    return done(target, work.state, RunState.REJECTED)


def _is_passed(work: Work) -> bool:
    """See Note [The refused step is passed]; a saga that ends needs a commit that ends it."""
    if not 0 < work.number == work.saga.last or work.step.awaits is not None:
        return False
    build = work.step.do
    is_remote = build is not None and handler_of(command_type(build)).is_remote
    return not is_remote and not is_detached(work.context)
