"""The oracle: what sagas and events have left behind, read beside the code that wrote it."""

from collections import Counter
from itertools import groupby

from tests.integration.sagas.news import Told
from tests.interleaving.journeys import (
    BACK,
    BEGUN,
    COOL,
    LOCKING,
    MAYBE,
    SENDERS,
    UNDONE_BY,
    WHOLE,
)
from tests.interleaving.presses import by_hand


def unfinished(sessions):
    return sessions.rows("SELECT id, status FROM sagas_saga WHERE finished_at IS NULL ORDER BY id")


def parked(sessions):
    return sessions.rows("SELECT id FROM sagas_saga WHERE parked_at IS NOT NULL ORDER BY id")


def effects(sessions, saga_id):
    """Return what a saga's steps have written, and how often."""
    written = "SELECT what FROM public.trial_effect WHERE saga = %s"
    found = sessions.everywhere(written, [saga_id])
    return Counter(row[0] for row in found)


def wrongs_of_sagas(sessions, provider):
    """Return all that is not as it should be when every saga is at rest."""
    wrongs = [f"{saga_id} is still {status}" for saga_id, status in unfinished(sessions)]
    ended = sessions.rows(
        "SELECT id, name, status, past_return, pending FROM sagas_saga"
        " WHERE finished_at IS NOT NULL ORDER BY id"
    )
    for saga_id, name, status, past_return, pending in ended:
        left = Left(name, effects(sessions, saga_id), provider, saga_id)
        left.settled = by_hand(sessions, saga_id)
        found = left.completed() if status == "completed" else left.compensated(past_return)
        found += [f"{pending} branches are open"] if pending else []
        wrongs += [f"{status}: {wrong}" for wrong in [*left.all(), *found]]
    return wrongs


class Left:
    """What one saga has left behind, in its tables and at the provider."""

    def __init__(self, name, effects, provider, saga_id):
        self.name = name
        self.effects = effects
        self.settled = set()
        self.hold = provider.holds.get(saga_id)
        self.capture = provider.captures.get(saga_id)

    def all(self):
        """Return what is wrong however the saga has ended."""
        twice = [f"{what} took effect {n} times" for what, n in self.effects.items() if n > 1]
        beside = [
            f"{name} was settled by hand ({direction}) and done"
            for name, direction in sorted(self.settled)
            if self.has(name if direction == "do" else UNDONE_BY.get(name, BACK.get(name)))
        ]
        return [*twice, *beside]

    def completed(self):
        wrongs = []
        missed = {name for name, _ in self.settled}
        if set(self.effects) - MAYBE != WHOLE[self.name] - missed:
            wrongs.append(f"effects are {sorted(self.effects)}")
        held = "held" if "hold" in WHOLE[self.name] else None
        if "hold" in missed:
            held = self.hold  # somebody had called, or nobody: who misses it looks for himself
        captured = "captured" if "capture" in WHOLE[self.name] else None
        if (self.hold, self.capture) != (held, captured):
            wrongs.append(f"hold {self.hold}, capture {self.capture}")
        return wrongs

    def compensated(self, past_return):
        wrong = {
            "past the point of no return": past_return,
            "begun and not closed": self.name in BEGUN and not self.undone("open", "close"),
            "gone forward": any(map(self.has, ("capture", "book", "tell"))),
            "a hold stands": self.hold == "held" and ("hold", "undo") not in self.settled,
            "money moved": self.capture not in {None, "canceled"},
        }
        for what, undo in UNDONE_BY.items():
            # Of a remote step the undo is carried out too when it was only intended.
            wrong[f"{what} is not undone"] = self.has(what) and not self.undone(what, undo)
            wrong[f"{what} is undone and was not done"] = (
                self.has(undo) and not self.has(what) and what not in self._elsewhere()
            )
        return [what for what, is_so in wrong.items() if is_so]

    def _elsewhere(self):
        """What may be undone without a trace here: a call only intended, a child's work."""
        return {"hold", "pack"} if self.name in SENDERS else {"hold"}

    def undone(self, what, undo):
        """Whether the engine or a person has undone it."""
        return self.has(undo) or (what, "undo") in self.settled

    def has(self, what):
        return what in self.effects


def wrongs_of_children(sessions):
    """Return which parents and children do not end as they should together."""
    together = sessions.rows(
        "SELECT p.id, p.status, c.status"
        " FROM sagas_saga p LEFT JOIN sagas_saga c ON c.parent_id = p.id"
        " WHERE p.name = ANY(%s)",
        [list(SENDERS)],
    )
    parents = Counter(parent for parent, *_ in together)
    allowed = {
        ("completed", "completed", 0),
        ("compensated", None, 0),
        ("compensated", "compensated", 0),
        ("compensated", "completed", 1),
    }
    return [
        f"parent {parent} is {status}, its child {child}, undone {undone} times"
        for parent, status, child in together
        if (status, child, undone := undone_children(sessions, parent)) not in allowed
        or parents[parent] > 1
    ]


def undone_children(sessions, parent):
    """Return how often what a child has done was undone, by whomever."""
    told = ("errand", "undo") in by_hand(sessions, parent)
    ended = sessions.rows(
        "SELECT 1 FROM sagas_saga WHERE parent_id = %s AND status = 'completed'", [parent]
    )
    return effects(sessions, parent)["unpack"] + int(told and bool(ended))


def wrongs_of_locks(sessions, healed_at):
    """Return who was in the order beside its holder, or waited for nothing."""
    owner = dict(
        sessions.rows(
            "SELECT s.id, coalesce(s.parent_id, s.id)"
            " FROM sagas_saga s LEFT JOIN sagas_saga p ON p.id = s.parent_id"
            " WHERE coalesce(p.name, s.name) = ANY(%s)",
            [list(LOCKING)],
        )
    )
    written = sorted(sessions.everywhere("SELECT at, id, saga FROM public.trial_effect"))
    owners = [owner[saga_id] for *_, saga_id in written if saga_id in owner]
    turns = Counter(owner for owner, _ in groupby(owners))
    wrongs = [f"{owner} had the order {n} times" for owner, n in turns.items() if n > 1]
    left = sessions.rows("SELECT saga_id FROM sagas_lock")
    wrongs += [f"the lock of {saga_id} was left behind" for (saga_id,) in left]
    late = sessions.rows(
        "SELECT id FROM sagas_saga WHERE name = ANY(%s) AND failure = 'deadline'"
        " AND deadline_at > %s",
        [list(LOCKING), healed_at],
    )
    return [*wrongs, *(f"{saga_id} slept until its deadline for nothing" for (saga_id,) in late)]


def wrongs_of_timers(sessions):
    """Return which timers have let their saga go on before their time."""
    passed = sessions.rows(
        "SELECT c.saga_id, c.committed_at - t.committed_at FROM sagas_steprun c"
        " JOIN sagas_steprun t ON t.saga_id = c.saga_id AND t.name = 'take' AND t.direction = 'do'"
        " WHERE c.name = 'cool' AND c.direction = 'do' AND c.state = 'done'"
    )
    return [f"{saga_id} slept for {slept}" for saga_id, slept in passed if slept < COOL]


def wrongs_of_requests(sessions):
    """Return what was asked of the engine and is not done when everything is at rest."""
    begun = sessions.rows(
        "SELECT saga_id FROM orders_barrier WHERE step_no = 0 AND direction = 'do'"
    )
    known = set(sessions.rows("SELECT id FROM sagas_saga"))
    wrongs = [f"{row[0]} has begun and was never started" for row in begun if row not in known]
    wrongs += [f"request {event_id} is not settled" for (event_id,) in unsettled(sessions)]
    heard = sessions.rows("SELECT count(*) FROM orders_outbox")[0][0]
    inbox = sessions.rows("SELECT count(*) FROM sagas_inbox")[0][0]
    return wrongs if heard == inbox else [*wrongs, f"{inbox} of {heard} requests were heard"]


def wrongs_of_signals(sessions):
    """Return what is wrong with the signals of the sagas that have ended."""
    return [
        f"{consumed} signals of {saga_id} were consumed, its wait is {state}"
        for saga_id, consumed, state in sessions.rows(
            "SELECT s.id, (SELECT count(*) FROM sagas_signal g"
            "  WHERE g.saga_id = s.id AND g.consumed_at IS NOT NULL),"
            " (SELECT r.state FROM sagas_steprun r WHERE r.saga_id = s.id"
            "  AND r.name = 'paid' AND r.direction = 'do')"
            " FROM sagas_saga s WHERE s.name = 'orders.journey'"
        )
        if consumed != (state == "done")
    ]


# -- events ---


def told(sessions):
    """Return the texts of all events, in the order in which they were numbered."""
    return [
        row[0]
        for row in sessions.rows(
            "SELECT payload->>'text' FROM orders_outbox WHERE type = %s"
            " ORDER BY aggregateid, sequence",
            [Told.name],
        )
    ]


def unsettled(sessions):
    """Return the events that are not known to have been applied by all who listen."""
    return sessions.rows("SELECT id FROM orders_outbox WHERE settled_at IS NULL")


def wrongs_of_events(sessions, contexts):
    """Return all that is not as it should be when every event is settled."""
    wrongs = [f"event {event_id} is not settled" for (event_id,) in unsettled(sessions)]
    letters = sessions.rows("SELECT event_id FROM sagas_deadletter WHERE resolved_at IS NULL")
    wrongs += [f"a letter for {event_id} is open" for (event_id,) in letters]
    written = sessions.rows(
        "SELECT aggregateid, sequence, payload->>'text' FROM orders_outbox WHERE type = %s"
        " ORDER BY aggregateid, sequence",
        [Told.name],
    )
    wrongs += _gaps(written)
    for context in contexts:
        wrongs += _differences(sessions, context, written)
    return wrongs


def _gaps(written):
    numbers = {}
    for aggregate, sequence, _ in written:
        numbers.setdefault(aggregate, []).append(sequence)
    return [
        f"the events of {aggregate} are numbered {found}"
        for aggregate, found in numbers.items()
        if found != list(range(1, len(found) + 1))
    ]


def _differences(sessions, context, written):
    """Compare what a context has heard, in order, with what was written."""
    heard = sessions.everywhere(
        "SELECT what FROM public.trial_effect WHERE saga IS NULL AND what LIKE %s ORDER BY id",
        [f"{context}:%"],
    )
    found = Counter(row[0] for row in heard)
    wanted = Counter(f"{context}:{text}#{sequence}" for _, sequence, text in written)
    inbox = sessions.rows(f"SELECT count(*) FROM {context}_inbox")[0][0]
    wrongs = []
    if found != wanted:
        wrongs.append(f"{context} heard {dict(found)} of {dict(wanted)}")
    if inbox != len(written):
        wrongs.append(f"{context} has {inbox} of {len(written)} in its inbox")
    numbers = [int(row[0].partition("#")[2]) for row in heard]
    aggregates = {row[0] for row in written}
    if len(aggregates) == 1 and numbers != sorted(numbers):
        wrongs.append(f"{context} heard them in the order {numbers}")
    return wrongs
