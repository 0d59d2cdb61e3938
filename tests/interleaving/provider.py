"""The other side: it honors a key, its cancel is final, and its answers are the schedule's.

A no is not final: the same call may succeed a moment later, as with a card that is out of money.
"""

from sagas.api import Rejected, Unknown, current_run
from tests.interleaving import scheduler


class Provider:
    """Holds and captures of each saga, and what should never have been asked."""

    def __init__(self, chance, whims):
        self.chance = chance
        self.whims = whims
        """How many calls still go wrong, and how."""
        self.planned = []
        """What befalls the next calls, before any whim."""
        self.holds = {}
        self.captures = {}
        self.wrongs = []

    def script(self):
        return {
            "hold": self.hold,
            "release": self.release,
            "capture": self.capture,
            "close_capture": self.close,
        }

    def hold(self):
        whim = self._asked("hold")
        saga = current_run().saga_id
        if self.holds.get(saga) == "canceled":
            raise Rejected("canceled")
        if saga not in self.holds:
            if whim == "no":
                raise Rejected("declined")
            self.holds[saga] = "held"
        self._answer(whim)
        return "h1"

    def release(self):
        whim = self._asked("release")
        saga = current_run().saga_id
        if saga in self.captures and self.captures[saga] != "canceled":
            self.wrongs.append(f"the hold of {saga} was released after its capture")
        self.holds[saga] = "canceled"
        self._answer(whim)

    def capture(self):
        whim = self._asked("capture")
        saga = current_run().saga_id
        if self.captures.get(saga) == "canceled":
            raise Rejected("canceled")
        if saga not in self.captures:
            if whim == "no":
                raise Rejected("expired")
            if self.holds.get(saga) != "held":
                self.wrongs.append(f"{saga} was captured without a hold")
            self.captures[saga] = "captured"
        self._answer(whim)
        return "captured"

    def close(self):
        whim = self._asked("close")
        saga = current_run().saga_id
        end = self.captures.setdefault(saga, "canceled")
        self._answer(whim)
        return None if end == "canceled" else end

    def _asked(self, what):
        scheduler.point(f"provider {what}")
        if self.planned:
            return self.planned.pop(0)
        kinds = [kind for kind, left in sorted(self.whims.items()) if left]
        if not kinds or self.chance.random() < 0.6:
            return None
        whim = self.chance.choice(kinds)
        self.whims[whim] -= 1
        if whim == "down":
            raise ConnectionError("no answer, nothing done")
        return whim

    def _answer(self, whim):
        if whim == "lost":
            raise Unknown("no answer, done or not")
