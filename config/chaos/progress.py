"""How far the run is: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import Final, TextIO

WIDTH: Final = 24
EVERY: Final = 10.0
CLEAR: Final = "\r\x1b[K"


class Progress:
    """Shows the part of the plan that is done, and says what happens."""

    def __init__(self, out: TextIO, seconds: float) -> None:
        """Take where to show it, and how long the faults last."""
        self._out = out
        self._bar = out.isatty()
        self._seconds = seconds
        self._began = time.monotonic()
        self._shown = 0.0

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        passed = time.monotonic() - self._began
        self._out.write(f"{CLEAR if self._bar else ''}[{passed:6.1f} s] {text}\n")
        self._out.flush()

    def update(self, passed: float, aside: str) -> None:
        """Show how far it is, if it is time to show something again."""
        now = time.monotonic()
        if now - self._shown < (0.5 if self._bar else EVERY):
            return
        self._shown = now
        text = f"{min(passed, self._seconds):.0f} of {self._seconds:.0f} s, {aside}"
        if not self._bar:
            self.say(text)
            return
        filled = round(WIDTH * min(1.0, passed / self._seconds))
        self._out.write(f"{CLEAR}{'█' * filled}{'·' * (WIDTH - filled)} {text}")
        self._out.flush()
