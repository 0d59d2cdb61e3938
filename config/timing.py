"""The engine's timing, with its defaults, read from SAGAS_<NAME>."""

import os
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from config.env import env_int, env_seconds, nearest

PREFIX: Final = "SAGAS_"
# Seconds: in production, and under CONCORD_PROFILE=fast, which makes tests wait less.
SECONDS: Final = {
    "LEASE": (60.0, 5.0),
    "STEP_TIMEOUT": (30.0, 3.0),
    "HARD_LIMIT": (40.0, 4.0),
    "TIME_SLICE": (1.0, 1.0),
    "SWEEP_INTERVAL": (1.0, 0.5),
    "WATCH_INTERVAL": (5.0, 0.5),
    "RELAY_INTERVAL": (1.0, 0.5),
    "RELAY_LEASE": (10.0, 3.0),
    "TAIL_INTERVAL": (0.1, 0.1),
    "OUTSIDE_TIMEOUT": (2.0, 1.0),
    "OUTSIDE_LEASE": (20.0, 3.0),
    "DELIVERY_SLICE": (0.1, 0.1),
    "REPUBLISH_AFTER": (30.0, 3.0),
    "VISIBILITY": (120.0, 10.0),
    "DELAY_BASE": (1.0, 0.2),
    "DELAY_CAP": (60.0, 2.0),
    "HINT_GRACE": (2.0, 0.5),
    "HINT_CAP": (20.0, 2.0),
    "BUSY_GRACE": (15.0, 2.0),
    "DONE_KEY_SECONDS": (86400.0, 86400.0),
    "BREAKER_PAUSE": (15.0, 1.0),
}
# Whole numbers, in production and under the fast profile.
NUMBERS: Final = {
    "MAX_ATTEMPTS": (12, 12),
    "HANDLER_ATTEMPTS": (5, 5),
    "CLAIM_BATCH": (20, 20),
    "SWEEP_BATCH": (200, 200),
    "RELAY_BATCH": (500, 500),
    "TAIL_CEILING": (1024, 1024),
    "OUTSIDE_BATCH": (200, 200),
    "OUTSIDE_BYTES": (16_777_216, 16_777_216),
    "RELAY_FRESH": (10, 10),
    "STREAM_LENGTH": (1_000_000, 1_000_000),
    "DELIVERY_SIZE": (50, 50),
    "MESSAGE_BYTES": (1_048_576, 1_048_576),
    "RETENTION_DAYS": (30, 30),
}
# They may be 0, which turns off what they are about.
SWITCHES: Final = {"EVERY_STEP_TO_DISK": (0, 0), "BREAKER_FAILURES": (5, 5)}


def saga_timing(*, fast: bool) -> dict[str, float | int]:
    """Read every timing from the environment; a name that does not exist is refused."""
    known = [PREFIX + name for name in (*SECONDS, *NUMBERS, *SWITCHES)]
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known:
            raise ImproperlyConfigured(
                f"{name} is no setting{nearest(name, known)}: "
                f"unset it, or use one of {', '.join(known)}"
            )
    timing: dict[str, float | int] = {}
    for name, defaults in SECONDS.items():
        timing[name] = env_seconds(PREFIX + name, defaults[fast])
    for name, numbers in NUMBERS.items():
        timing[name] = env_int(PREFIX + name, numbers[fast], least=1)
    for name, switches in SWITCHES.items():
        timing[name] = env_int(PREFIX + name, switches[fast], least=0)
    return timing
