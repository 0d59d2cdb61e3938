"""How a step is committed: in one transaction, or where its context is detached in two.

Note [Two transactions]

A context with a database of its own cannot commit together with the saga's row. So its
transaction (the barrier row with state and reply, the effect, its events) is followed by the
engine's, which moves the cursor. What keeps this right (reliability 7.1; each is taken out by a
test, ``tests/concurrency/sagas/test_detached.py``):

* the barrier row is unique and final, so an effect that is recorded is never made again;
* a step that finds its row goes on to the move, with the reply or the no that stands in it;
* a compensation closes the row of a step that has not come, and of one that has only been
  intended, so a run that is late is refused although the fence is in another database;
* the move names status, cursor and fencing token, as it does everywhere;
* a pivot is entered on the engine's database before anything of it can take effect.

Note [Not every step waits for the disk]

A step that may still be undone, and an undo, do not wait for the disk where the same worker goes on
with the next one at once and no other system was called (``synchronous_commit = off`` for that
transaction). The link's last commit waits, and so do a no, the intent before a call and what the
call came to, and all that is past the return; each takes with it everything before. A crash of the
server may so lose the last steps of a link, each with its effect, its events and its cursor, as if
they had not been begun, and they are done again. What keeps this right:

* the log is written in order, so a commit that is kept has all before it;
* every commit names the cursor it relies on, so nobody goes on from a step that is lost;
* whatever decides how the saga ends waits: a no, a cancel, the way past the return;
* what leaves the database is preceded by a commit that waits: an intent, a relay's lease, the
  end of the link. Another database is outside too, so with detached contexts every commit waits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sagas.core.keys import Direction
from sagas.failpoints import failpoint
from sagas.models.step_run import RunState
from sagas.orchestration import barriers
from sagas.orchestration.barriers import BarrierTaken
from sagas.orchestration.store import StaleFencingToken
from sagas.orchestration.work import Done, Work, write_intent
from sagas.transactions import ENGINE, is_detached, transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a step run came to: what its barrier row says."""

    state: RunState
    reply: Any = None
    """The reply, or of a rejection the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Intended:
    """What the call needs, now that the intent is committed."""

    intent: Any


Effect = Callable[[], Outcome]
Conclude = Callable[[Work, Outcome], Done]


def commit(work: Work, direction: Direction, effect: Effect, conclude: Conclude) -> Done:
    """Carry out the effect of a step and move the saga.

    :param effect: runs in the context's transaction; not at all where it is recorded already
    :param conclude: moves the saga for what the effect came to

    See Note [Two transactions].
    """
    if not is_detached(work.context):
        with transaction(work.context):
            return conclude(work, effect())
    outcome = _in_its_own_database(work, direction, effect)
    assert isinstance(outcome, Outcome)
    with transaction(ENGINE):
        return conclude(work, outcome)


def commit_intent(
    work: Work, direction: Direction, begin: Callable[[], Any], conclude: Conclude
) -> Done | Intended:
    """Commit that a call is about to be made; at a pivot, the point of no return.

    :param begin: writes the intent and returns it, or an outcome where there is nothing to call
    """

    def intend() -> Outcome | Intended:
        begun = begin()
        return begun if isinstance(begun, Outcome) else Intended(intent=begun)

    if not is_detached(work.context):
        with transaction(work.context):
            begun = intend()
            if isinstance(begun, Outcome):
                return conclude(work, begun)
            write_intent(work, direction)
    else:
        begun = _in_its_own_database(work, direction, intend)
        with transaction(ENGINE):
            if isinstance(begun, Outcome):
                return conclude(work, begun)
            write_intent(work, direction)
    failpoint("intent.committed", work.place)
    return begun


def enter_pivot(work: Work) -> None:
    """Commit the point of no return before a detached local pivot takes effect.

    Colocated, and at a remote pivot, the commit that is there anyway does it.
    """
    if is_detached(work.context):
        with transaction(ENGINE):
            write_intent(work, Direction.DO)
        failpoint("intent.committed", work.place)


def _in_its_own_database(
    work: Work, direction: Direction, act: Callable[[], Outcome | Intended]
) -> Outcome | Intended:
    """Do the context's part of a step and record it, or return what is recorded already."""
    known: Outcome | Intended | None
    # Not a guard: an effect that a cancel has overtaken is undone later, but it is better not made.
    if work.group is None:
        barriers.check(work.claimed, work.number)
    try:
        with transaction(work.context):
            known = _recorded(work, direction)
            if known is None:
                known = act()
                _record(work, direction, known)
                failpoint("effect.before_commit", work.place)
    except BarrierTaken:
        known = _recorded(work, direction)
    if known is None:  # what is in the way says only that somebody else is about to call
        raise StaleFencingToken
    failpoint("effect.committed", work.place)
    return known


def _record(work: Work, direction: Direction, found: Outcome | Intended) -> None:
    outcome = found if isinstance(found, Outcome) else Outcome(state=RunState.INTENDED)
    barriers.take(work, direction, outcome.state, outcome.reply)


def _recorded(work: Work, direction: Direction) -> Outcome | None:
    found = barriers.recorded(work, direction)
    return None if found is None else Outcome(state=found.state, reply=found.reply)
