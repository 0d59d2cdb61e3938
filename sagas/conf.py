"""The engine's settings, typed, with their defaults.

A project overrides them in ``SAGAS = {"LEASE": 30, ...}``.
"""

import math
from typing import Any

from django.conf import settings


class Setting:
    """One number of ``settings.SAGAS``, read at each use so that tests may change it."""

    def __init__(self, default: float, *, whole: bool = False, least: float | None = None) -> None:
        """Keep the value that holds when the project says nothing.

        :param least: the least it may be; else anything above zero
        """
        self.default = default
        self.whole = whole
        self.least = least
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        """Learn the name under which the project may override it."""
        self.name = name

    def __get__(self, instance: object, owner: type) -> float:
        """Return the project's value, else the default; of one that is to be whole, no fraction."""
        chosen: dict[str, Any] = getattr(settings, "SAGAS", {})
        number = float(chosen.get(self.name, self.default))
        return float(int(number)) if self.whole else number

    def wrong(self, chosen: Any) -> str | None:
        """Return what is wrong with a value that the project says."""
        try:
            number = float(chosen)
        except (TypeError, ValueError):
            return "is no number"
        if not math.isfinite(number):
            return "is no number"
        if self.whole and number != int(number):
            return "must be a whole number"
        if self.least is None:
            return None if number > 0 else "must be more than 0"
        return None if number >= self.least else f"must be {self.least:g} or more"


class Conf:
    """All durations in seconds."""

    LEASE = Setting(60)
    """How long a claimed saga belongs to its worker without a commit."""
    STEP_TIMEOUT = Setting(30)
    """Soft time limit of one link."""
    HARD_LIMIT = Setting(40)
    """Hard time limit of one link; shorter than the lease."""
    CALL_TIMEOUT = Setting(10)
    """Longest time one call to another system may take; the adapter enforces it."""
    TIME_SLICE = Setting(1, least=0)
    """How long a link goes on before it lets others have the worker."""
    CLAIM_BATCH = Setting(20, whole=True, least=1)
    """Most sagas that one message takes, its own included."""
    VISIBILITY = Setting(120)
    """When a Redis broker hands out an unacknowledged message again."""
    SWEEP_INTERVAL = Setting(1)
    """Between two sweeps."""
    SWEEP_BATCH = Setting(200, whole=True, least=1)
    """Most sagas a sweep takes up."""
    HINT_GRACE = Setting(2, least=0)
    """How long a hint may take before the sweeper gives another."""
    HINT_CAP = Setting(20)
    """Longest time between two hints for one saga."""
    BUSY_GRACE = Setting(15, least=0)
    """Extra patience while the queue is not empty: the first hint is probably still in it."""
    DELAY_BASE = Setting(1, least=0)
    """First delay after a fault."""
    DELAY_CAP = Setting(60, least=0)
    """Longest delay after a fault."""
    EVERY_STEP_TO_DISK = Setting(0, least=0)
    """1 = every step's commit waits for the disk, also where the next one follows at once."""
    BREAKER_FAILURES = Setting(5, whole=True, least=0)
    """Calls in a row without an answer after which a system is left alone; 0 = never."""
    BREAKER_PAUSE = Setting(15)
    """How long it is left alone before one call is tried."""
    MAX_ATTEMPTS = Setting(12, whole=True, least=1)
    """Claims without progress before a saga is parked."""
    WATCH_INTERVAL = Setting(5)
    """Between two looks for flows that are due; a new flow is first looked at after it."""
    RELAY_INTERVAL = Setting(1)
    """Between two runs of the relay, when no commit rang for it."""
    RELAY_LEASE = Setting(10)
    """How long a batch belongs to the relay that publishes it."""
    RELAY_BATCH = Setting(500, whole=True, least=1)
    """Most events a relay takes in one transaction."""
    TAIL_INTERVAL = Setting(0.1)
    """Between two looks of `outbox tail` into the log."""
    TAIL_CEILING = Setting(1024, whole=True, least=1)
    """Megabytes of log kept for `outbox tail` above which its slot is dropped."""
    OUTSIDE_BATCH = Setting(200, whole=True, least=1)
    """Most events that go to the outside between two marks."""
    OUTSIDE_TIMEOUT = Setting(2)
    """Longest wait for the broker of the outside, for each message."""
    OUTSIDE_BYTES = Setting(16_777_216, whole=True, least=1024)
    """Most bytes of an event for the outside; a larger one becomes a dead letter."""
    OUTSIDE_LEASE = Setting(20)
    """How long a context's events for the outside belong to who sends them."""
    RELAY_FRESH = Setting(10, whole=True, least=1)
    """Most events that whoever answers a ring applies itself, without a message for them."""
    STREAM_LENGTH = Setting(1_000_000, whole=True, least=1)
    """Entries of the stream that are kept, roughly, where events also go to one."""
    DELIVERY_SIZE = Setting(50, whole=True, least=1)
    """Most event ids in one delivery message."""
    DELIVERY_SLICE = Setting(0.1, least=0)
    """How long a delivery goes on before it lets others have the worker."""
    REPUBLISH_AFTER = Setting(30)
    """Age at which an event that a context has not applied is delivered again."""
    START_GRACE = Setting(600, least=0)
    """How long an older release may still publish past a context that has begun to listen."""
    HANDLER_ATTEMPTS = Setting(5, whole=True, least=1)
    """Tries of an event handler before the event becomes a dead letter for an operator."""
    DONE_KEY_SECONDS = Setting(86_400, whole=True, least=1)
    """Life of a done-key in Redis."""
    MESSAGE_BYTES = Setting(1_048_576, whole=True, least=1024)
    """Most bytes of a message; ours carry ids, and a larger one is kept unread."""
    RETENTION_DAYS = Setting(30, whole=True, least=1)
    """How long settled outbox, inbox and request rows are kept."""


SETTINGS: dict[str, Setting] = {
    name: setting for name, setting in vars(Conf).items() if isinstance(setting, Setting)
}
conf = Conf()
