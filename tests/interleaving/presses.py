"""What operators have pressed, and what barriers say, beside what has taken effect."""

from collections import Counter

from tests.interleaving.journeys import BACK, MAYBE, UNDONE_BY, WHOLE

CONTEXTS = ("orders", "billing", "payments")
ALL_BACK = UNDONE_BY | BACK
EFFECTS = MAYBE.union(*WHOLE.values(), ALL_BACK.values())
"""What is written by steps that are done or undone; waits write nothing."""


def by_hand(sessions, saga_id):
    """Return the steps that a person has settled, by name and direction.

    A detached context may have been told although the press was lost with its process; its way
    back is ``skipped`` by nobody else.
    """
    rows = sessions.rows(
        "SELECT name, direction FROM sagas_steprun WHERE saga_id = %s AND state = 'skipped'"
        " AND (reply ? 'skipped_by' OR direction = 'undo')",
        [saga_id],
    )
    return set(rows)


def wrongs_of_acts(sessions, *, apart):
    """Return which parkings have been ended twice, and which presses the journal does not know.

    :param apart: whether a press may be lost when its half in a context's database is committed
    """
    acts = Counter()
    for saga_id, action, times in sessions.rows(
        "SELECT target_id, action, count(*) FROM sagas_operatoraction"
        " WHERE outcome = 'done' GROUP BY 1, 2"
    ):
        acts[saga_id, action] = times
    wrongs = [
        f"{saga_id} was parked, and moved from {how}"
        for saga_id, how in sessions.everywhere("SELECT saga, how FROM interleaving.moved")
    ]
    for saga_id, worn_out in sessions.rows(
        "SELECT s.id, (SELECT count(*) FROM sagas_stepfault f WHERE f.saga_id = s.id"
        "  AND f.kind <> 'rejected' AND f.next_at IS NULL) FROM sagas_saga s"
    ):
        parked, ended, skipped = (
            sum(acts[str(saga_id), action] for action in actions)
            for actions in (("park",), ("resume", "skip"), ("skip",))
        )
        if ended > parked + worn_out:
            wrongs.append(f"{saga_id} was parked {parked} + {worn_out} times, let go {ended} times")
        settled = by_hand(sessions, saga_id)
        if skipped > len(settled) or (skipped < len(settled) and not apart):
            wrongs.append(f"{saga_id} was skipped {skipped} times: {sorted(settled)}")
    return wrongs


def wrongs_of_barriers(sessions):
    """Return where an effect is without its barrier, or a barrier says what has not happened."""
    found, wanted = Counter(), Counter()
    for saga_id, what in sessions.everywhere(
        "SELECT saga, what FROM public.trial_effect WHERE saga IS NOT NULL AND what <> %s",
        ["refused_hold"],
    ):
        found[saga_id, what] += 1
    names = {
        (saga_id, number): name
        for saga_id, number, name in sessions.rows(
            "SELECT saga_id, step_no, name FROM sagas_steprun"
        )
    }
    for context in CONTEXTS:
        for saga_id, number, direction in sessions.rows(
            f"SELECT saga_id, step_no, direction FROM {context}_barrier WHERE state = 'done'"
        ):
            name = names[saga_id, number]
            what = ALL_BACK.get(name) if direction == "undo" else name
            if what in EFFECTS:
                wanted[saga_id, what] += 1
    differ = (found - wanted) + (wanted - found)
    return [
        f"{what} of {saga_id} took effect {found[saga_id, what]} times, its barrier says"
        f" {wanted[saga_id, what]}"
        for saga_id, what in sorted(differ)
    ]
