"""How far it is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections import deque
from typing import Final, TextIO

WIDTH: Final = 24
BAR_EVERY: Final = 0.2
LINE_EVERY: Final = 5.0
WINDOW: Final = 15.0
CLEAR: Final = "\r\x1b[K"


class Progress:
    """Counts what has ended, and says at what rate and how long it will take."""

    def __init__(self, out: TextIO, total: int, done: int, what: str) -> None:
        """Begin with what was done before."""
        self._out = out
        self._total = total
        self._done = done
        self._what = what
        self._bar = out.isatty()
        self._shown_at = 0.0
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), done)])

    def update(self, done: int, aside: str = "", *, last: bool = False) -> None:
        """Show how much is done, if it is time to show something again."""
        now = time.monotonic()
        self._done = done
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        if last or now - self._shown_at >= (BAR_EVERY if self._bar else LINE_EVERY):
            self._shown_at = now
            self._show(aside, last=last)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._out.write(f"{CLEAR if self._bar else ''}{text}\n")
        self._out.flush()

    @property
    def rate(self) -> float:
        """Return how many ended per second of late."""
        (began, before), (ended, after) = self._seen[0], self._seen[-1]
        return (after - before) / (ended - began) if ended > began else 0.0

    def _show(self, aside: str, *, last: bool) -> None:
        text = f"{self._done:,} of {self._total:,} {self._what}, {self.rate:.1f}/s"
        left = self._total - self._done
        if left and self.rate:
            text += f", {_clock(left / self.rate)} left"
        if aside:
            text += f", {aside}"
        if self._bar:
            filled = round(WIDTH * self._done / self._total) if self._total else WIDTH
            bar = "█" * filled + "·" * (WIDTH - filled)
            self._out.write(f"{CLEAR}{bar} {text}{chr(10) if last else ''}")
        else:
            self._out.write(f"{text}\n")
        self._out.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
