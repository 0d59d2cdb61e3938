"""What the clients did and saw: one line of JSON for each request."""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


class Outcome(StrEnum):
    """What a client knows of a request, in the sense of a checker of histories."""

    OK = "ok"
    """It had its effect."""
    FAIL = "fail"
    """It had none, and never will."""
    INFO = "info"
    """It may have had it, or have it yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One request and its answer."""

    client: int
    op: str
    """`place`, `cancel`, `read`."""
    key: str
    """The Idempotency-Key, or empty."""
    outcome: Outcome
    status: int
    """HTTP status; 0 if no answer came."""
    order_id: str = ""
    seen: str = ""
    """What was read of an order: its status; of a refusal: its code."""
    began: float = 0.0
    """Seconds since the epoch."""
    ended: float = 0.0


class History:
    """Entries in the order of their answers, also in a file."""

    def __init__(self, file: Path | None = None) -> None:
        """Begin an empty one."""
        self.entries: list[Entry] = []
        self._lock = threading.Lock()
        self._out = file.open("w") if file else None

    def add(self, entry: Entry) -> None:
        """Keep an entry."""
        with self._lock:
            self.entries.append(entry)
            if self._out:
                self._out.write(json.dumps(asdict(entry)) + "\n")

    def close(self) -> None:
        """Write what is not yet written."""
        if self._out:
            self._out.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(lines: Iterable[str]) -> list[Entry]:
    """Read a kept history again."""
    found = []
    for line in lines:
        document = json.loads(line)
        found.append(Entry(**document | {"outcome": Outcome(document["outcome"])}))
    return found


def now() -> float:
    """Return the seconds since the epoch, which the database also counts by."""
    return time.time()
