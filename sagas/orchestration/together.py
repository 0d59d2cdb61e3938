"""One step of several sagas in one commit.

# Note [One commit for many]
Sagas of a batch that stand at the same step may make it in one transaction, if the step's handler
says so (``shares_commit=True``). Everything that is true of a commit of one is true of it: the
effects, the barrier rows, the journal rows and the cursors are there together or not at all, each
saga is moved only if its status, its cursor and its fencing token are what this worker believes,
and the statement is the one that moves a single saga, over rows.

One for all is also all for one: if anybody's handler raises, or anybody is no longer this
worker's, nothing of the transaction is kept, and each makes the step alone, as if nothing had been
tried. So a fault, a no or a canceled saga in a batch costs its neighbors some work and nothing
else, and is counted and told as ever. A step alone is where everything is decided; this is only
the cheap way to where all agree.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from celery.exceptions import SoftTimeLimitExceeded
from psycopg.types.json import Jsonb

from sagas.core.definition import Saga, command_type
from sagas.core.keys import Direction, effect_key
from sagas.correlation import correlated
from sagas.failpoints import failpoint
from sagas.models.saga import Status
from sagas.models.step_run import RunState
from sagas.orchestration import compensation, limits, steps, store
from sagas.orchestration.carried import Carried, correlation_of
from sagas.orchestration.handlers import handler_of
from sagas.orchestration.handover import has_no_lock
from sagas.orchestration.store import StaleFencingToken, engine_cursor
from sagas.orchestration.work import Done, Work, done, entry, running
from sagas.orchestration.worker import is_spent
from sagas.sometimes import sometimes
from sagas.transactions import in_one_database, transaction

# What the statement of one saga is told of it, and where the one of many reads it.
_OF_EACH: Final = {
    "id": "held.held_id",
    "token": "held.held_token",
    "saga_state": "held.new_state",
    "reply": "held.answer",
    "effect_key": "held.effect",
    "attempts": "held.tried",
    "started": "held.began",
}
# Waits for no saga's row: whoever waits for one while it holds others can be in a circle.
_HELD: Final = """
WITH held AS MATERIALIZED (
    SELECT held.* FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[], %(states)s::jsonb[],
        %(replies)s::jsonb[], %(keys)s::text[], %(tries)s::integer[], %(begins)s::timestamptz[])
        AS held (held_id, held_token, new_state, answer, effect, tried, began)
    JOIN sagas_saga AS s ON s.id = held.held_id
    FOR NO KEY UPDATE OF s SKIP LOCKED),
"""


@cache
def _for_many(statement: str) -> str:
    """Turn the statement that moves a saga into one that moves as many as it is told of."""
    many = re.sub(r"%\((\w+)\)s", lambda name: _OF_EACH.get(name[1], name[0]), statement)
    many = many.replace("WITH ", _HELD, 1).replace("{also}", "")
    many = many.replace("    WHERE id = ", "    FROM held WHERE id = ", 1)
    many = many.replace("FROM moved\n", "FROM moved JOIN held ON held_id = id\n")
    return many.replace("(SELECT parent_id FROM moved)", "NULL")


def shares(saga: Saga[Any], number: int, direction: Direction) -> bool:
    """Return whether a step of a definition may be made together with the same one of others."""
    if not 0 <= number <= saga.last or not in_one_database():
        return False
    step = saga.steps[number]
    build = step.do if direction is Direction.DO else step.undo
    if build is None or step.awaits is not None or step.group is not None:
        return False
    # A condition is a question to each; before a group there is more to write than a cursor.
    if direction is Direction.DO and (step.when is not None or saga.branches(number + 1)):
        return False
    return handler_of(command_type(build)).shares_commit


def side_by_side(sagas: Iterable[Carried]) -> list[Carried]:
    """Return the most that can make their next step together."""
    rows: dict[Any, list[Carried]] = defaultdict(list)
    for saga in sagas:
        if _may_share(saga):
            claimed = saga.claimed
            what = (claimed.name, claimed.def_version, saga.low, saga.high, saga.direction)
            rows[*what, claimed.cursor, claimed.past_return].append(saga)
    return max(rows.values(), key=len, default=[])


def _may_share(saga: Carried) -> bool:
    if saga.saga is None or limits.is_over(saga.claimed):
        return False
    number, direction = saga.claimed.cursor, saga.direction
    # Only what this worker knows the forward run of needs no door closed before it.
    known = direction is Direction.DO or saga.came_to.get(number) is RunState.DONE
    return known and not _tells_of_its_end(saga) and shares(saga.saga, number, direction)


def _tells_of_its_end(saga: Carried) -> bool:
    """Return whether the step may end a saga for whose end others wait: it locks rows of theirs."""
    claimed = saga.claimed
    last = claimed.last_step if saga.direction is Direction.DO else 0
    waits = claimed.parent_id is not None or not has_no_lock(claimed.name, claimed.def_version)
    return claimed.cursor == last and waits


def step(row: list[Carried], hand: list[Carried]) -> None:
    """Let sagas that stand side by side make their step.

    :param hand: those that may be given back unharmed if this is broken off. The one that is worked
        at is taken out meanwhile; whoever has come to the end of what this worker may do, for good
    """
    parts: list[_Part] = []
    try:
        found = _commit(row, hand, parts)
    except Exception as trouble:  # noqa: BLE001 - whatever it is, whoever has it meets it again alone
        sometimes("together.apart")
        # Where it is nobody's own, as of the commit itself, one of those that were carried out.
        whose = next((saga for saga in row if saga not in hand), row[0])
        _apart(row, hand, whose, trouble)
        return
    sometimes("together.committed")
    for saga, part, now in zip(row, parts, found, strict=False):
        hand.remove(saga)
        if saga.moved(part.work, now) is None:
            hand.append(saga)


def _apart(row: list[Carried], hand: list[Carried], whose: Carried, trouble: Exception) -> None:
    """Let each make the step alone while there is time; in any case the one that had the trouble.

    So whatever it is gets counted, and does not come again with all of them as if it were new.
    """
    if isinstance(trouble, SoftTimeLimitExceeded):
        _take_out(whose, hand).failed(trouble)
        return
    for saga in [whose, *(saga for saga in row if saga is not whose)]:
        may_go_on = saga is whose or not is_spent(saga.started)
        if may_go_on and _take_out(saga, hand).step() is None:
            hand.append(saga)


def _take_out(saga: Carried, hand: list[Carried]) -> Carried:
    if saga in hand:
        hand.remove(saga)
    return saga


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one saga's step has done and not committed."""

    work: Work
    state: Any
    stored: Jsonb | None
    """The state as it is to be stored, None for the one that there is."""
    reply: Jsonb | None


def _commit(row: list[Carried], hand: list[Carried], parts: list[_Part]) -> list[Done]:
    """Carry a step out for each saga, as far as the slice goes, and commit it for all.

    :param parts: gets what has been carried out, also when the next one fails
    :raises StaleFencingToken: if one of them is no longer this worker's
    """
    first = row[0].work()
    with transaction(first.context):
        for saga in row:
            hand.remove(saga)
            parts.append(_carry_out(saga.work()))
            hand.append(saga)
            if is_spent(saga.started):
                break
        found = _move(parts)
        failpoint("together.before_commit", first.place)
    failpoint("together.committed", first.place)
    return found


def _carry_out(work: Work) -> _Part:
    direction = _direction(work)
    build = work.step.do if direction is Direction.DO else work.step.undo
    assert build is not None
    with correlated(correlation_of(work.claimed)), running(work, direction):
        command = build(work.state)
        reply = handler_of(command).carry_out(command)
        if direction is Direction.UNDO:
            return _Part(work=work, state=work.state, stored=None, reply=None)
        state, reply = steps.kept(work, steps.answered(command, reply).reply)
        # Here, where it is known whose it is that cannot be stored.
        stored = steps.stored(work, state)
    return _Part(
        work=work,
        state=state,
        stored=None if stored is None else Jsonb(stored),
        reply=None if reply is None else Jsonb(reply),
    )


def _direction(work: Work) -> Direction:
    return Direction.DO if work.claimed.status == Status.RUNNING else Direction.UNDO


def _move(parts: list[_Part]) -> list[Done]:
    first = parts[0].work
    direction = _direction(first)
    # Of where they go, all but the state is the same for those who stand side by side.
    if direction is Direction.DO:
        to = steps.target_of(first, first.state)
    else:
        to = compensation.target_of(first)
    told = store.parameters(first.claimed, entry(first, direction, RunState.DONE), to)
    with engine_cursor() as cursor:
        sql = store.with_barrier(_for_many(store.MOVE), first.context)
        cursor.execute(sql, told | _of_each(parts, direction))
        moved, barred, *_ = cursor.fetchone()
    if [moved, barred] != [len(parts)] * 2:
        raise StaleFencingToken
    return [done(to, part.state, RunState.DONE) for part in parts]


def _of_each(parts: list[_Part], direction: Direction) -> dict[str, Any]:
    claims = [part.work.claimed for part in parts]
    name = parts[0].work.step.name
    return {
        "ids": [claim.saga_id for claim in claims],
        "tokens": [claim.token for claim in claims],
        "states": [part.stored for part in parts],
        "replies": [part.reply for part in parts],
        "keys": [effect_key(claim.saga_id, name, direction) for claim in claims],
        "tries": [claim.attempts for claim in claims],
        "begins": [claim.claimed_at for claim in claims],
    }
