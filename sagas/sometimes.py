"""Counters of what should happen now and then: a guard that never bites has not been tested.

After Antithesis' "sometimes" assertions. Each place costs one addition. A file named by
``CONCORD_SOMETIMES_FILE`` gets a line for each event, also from a process that is killed a moment
later, so that a run of many processes can be asked afterwards what it has met.
"""

import os
from collections import Counter
from pathlib import Path

PLACES: dict[str, str] = {
    "link.passed": "a copy of a message whose steps were done already went on without a claim",
    "link.remembered": "Redis knew that the steps of a message were done",
    "copy.refused": "a copy of a message was refused, without an attempt",
    "claim.repeated": "a step was claimed again after an attempt that did not move the cursor",
    "heartbeat.refused": "a call in the middle heard that its saga is no longer its own",
    "fence.refused": "a worker that had lost its saga was refused its commit",
    "commit.unanswered": "a commit got through although its answer was lost",
    "outcome.unknown": "a call gave no answer that says what happened",
    "breaker.opened": "a system that did not answer is left alone from now on",
    "breaker.refused": "a call was put off, since the system did not answer others",
    "breaker.probed": "one call tried whether the system answers again",
    "breaker.closed": "a system that did not answer is called again",
    "provider.replayed": "the other side had done already what a repeated call was about to ask",
    "key.raised": "the other side said a definite no, and the next attempt got a new key",
    "refusal.repeated": "a definite no came again for a key that had its successor",
    "close.was_done": "a no at the pivot turned out to be a yes when it was to be made final",
    "step.rejected": "a participant said no, and a compensation began",
    "tombstone.planted": "a compensation closed the door on a step that had never run",
    "group.joined": "the last branch of a group moved its saga on",
    "saga.overdue": "a deadline turned a saga round",
    "saga.parked": "a saga was parked after too many attempts",
    "signal.early": "a signal came before its saga waited for it, and was kept",
    "signal.duplicate": "a signal came again under its key",
    "child.called_back": "a compensation called a child back that was still running",
    "wait.ended": "a wait ended without its signal",
    "wake.shared": "a saga was not rung for, since a message for its like was unread",
    "batch.claimed": "a message took other sagas along",
    "batch.full": "a message found more sagas than it could take along, and rang again",
    "batch.given_back": "sagas that a message had taken were not begun in its slice",
    "batch.handed_out": "sagas of a batch that came to a call got a message of their own",
    "together.committed": "several sagas made their step in one commit",
    "together.apart": "several sagas could not make their step together, and each made it alone",
    "turned.in_task": "the task of a rejection went on with the compensation itself",
    "slice.spent": "a link used up its slice and published the rest",
    "callback.late": "an error callback came when nothing was due",
    "sweep.hinted": "the sweeper rang for a saga",
    "hint.lost": "the broker did not take a message",
    "event.duplicate": "an event came that had been applied, or was not the next",
    "event.republished": "an event was delivered again since nobody had applied it in time",
    "request.replayed": "a request was given the answer of an earlier copy",
    "start.repeated": "a saga was started again under its business key",
    "lock.refused": "a saga met a lock and did not start",
    "lock.awaited": "a saga met a lock and sleeps for it",
    "lock.handed_on": "a saga that ended gave its lock to the next one",
}

_met: Counter[str] = Counter()


def sometimes(name: str) -> None:
    """Count that this has happened once more."""
    assert name in PLACES, name
    _met[name] += 1
    file = os.environ.get("CONCORD_SOMETIMES_FILE")
    if file:
        # Short appended lines of several processes do not mix.
        with Path(file).open("a") as lines:
            lines.write(f"{name}\n")


def met(file: Path | None = None) -> dict[str, int]:
    """Return how often each has happened: in this process, or in all that wrote to a file."""
    counted = _met if file is None else Counter(_lines(file))
    return {name: counted[name] for name in PLACES}


def forget() -> None:
    """Begin to count anew in this process."""
    _met.clear()


def _lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []
