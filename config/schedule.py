"""The beat schedule: the ticks that make sure nothing is forgotten."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from config.queues import EXPIRY_OF_TICKS, TICKS

HOURLY: Final = 3600.0


def beat_schedule(timing: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Build the schedule. Ticks that nobody consumed in time expire, so they never pile up."""
    every = {
        "sagas.sweep": timing["SWEEP_INTERVAL"],
        "sagas.relay": timing["RELAY_INTERVAL"],
        "sagas.republish": timing["REPUBLISH_AFTER"],
        "sagas.prune": HOURLY,
    }
    return {
        task: {
            "task": task,
            "schedule": timedelta(seconds=seconds),
            "options": {"queue": TICKS, "expires": EXPIRY_OF_TICKS},
        }
        for task, seconds in every.items()
    }
