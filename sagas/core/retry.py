"""How long to wait between the attempts of a step, and how often to try."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Delay and bound of a step's attempts; ``None`` takes the engine's setting."""

    base: float | None = None
    """Seconds before the second attempt; doubled for each further one."""
    cap: float | None = None
    """Longest delay in seconds."""
    max_attempts: int | None = None
    """Claims without progress before the saga is parked for an operator."""

    def delay(self, attempts: int, *, base: float, cap: float) -> float:
        """Return the seconds to wait after the given number of attempts.

        Full delay with a jitter of a quarter, so that sagas that failed together (a provider
        that was down) do not all come back in the same instant.
        """
        first = base if self.base is None else self.base
        most = cap if self.cap is None else self.cap
        # The exponent is bounded: 2**attempts of a long outage would overflow a float.
        full = min(most, first * 2.0 ** min(max(attempts - 1, 0), 30))
        return full * random.uniform(0.75, 1.0)


DEFAULT = RetryPolicy()
