"""The beat schedule: the ticks that make sure nothing is forgotten."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from config.queues import EXPIRY_OF_TICKS, TICKS

HOURLY: Final = 3600.0
EVERY_HALF_MINUTE: Final = 30.0


def beat_schedule(timing: Mapping[str, float], *, outside: bool) -> dict[str, dict[str, Any]]:
    """Build the schedule. Ticks that nobody consumed in time expire, so they never pile up."""
    every = {
        "sagas.sweep": timing["SWEEP_INTERVAL"],
        "sagas.watch": timing["WATCH_INTERVAL"],
        "sagas.relay": timing["RELAY_INTERVAL"],
        "sagas.send_outside": timing["RELAY_INTERVAL"],
        "sagas.republish": timing["REPUBLISH_AFTER"],
        "sagas.watch_slots": EVERY_HALF_MINUTE,
        "sagas.catch_up": timing["REPUBLISH_AFTER"] / 3,
        "sagas.prune": HOURLY,
    }
    return {
        task: {
            "task": task,
            "schedule": timedelta(seconds=seconds),
            "options": {"queue": TICKS, "expires": EXPIRY_OF_TICKS},
        }
        for task, seconds in every.items()
        if outside or task != "sagas.send_outside"
    }
