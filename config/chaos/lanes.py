"""Carrying out the plan: the injections of each lane one after the other, the lanes together."""

import threading
import time
from collections.abc import Mapping
from typing import Final

import psutil
import psycopg
import redis
import urllib3

from config.chaos.plan import Injection, Plan
from config.chaos.progress import Progress
from config.chaos.stage import Inject, Record, Stage

LATE: Final = 5.0
"""Seconds after which an injection beyond the least number is left out."""
OVERTIME: Final = 2.0
"""Part of the planned time after which what has not been injected is left."""
# What an injection may meet, since another lane has just taken away what it works with.
MISFORTUNES: Final = (
    psycopg.Error,
    redis.exceptions.RedisError,
    urllib3.exceptions.HTTPError,
    psutil.Error,
    OSError,
    ValueError,
)


class Lanes:
    """Runs the plan."""

    def __init__(
        self, stage: Stage, plan: Plan, inject: Mapping[str, Inject], progress: Progress
    ) -> None:
        """Take the running system, and how each fault is done."""
        self.stage = stage
        self.plan = plan
        self.inject = inject
        self.progress = progress
        self.records: list[Record] = []
        self._lock = threading.Lock()
        self._began = 0.0

    def run(self) -> None:
        """Carry out everything; returns when all lanes are through."""
        self._began = time.monotonic()
        threads = [
            threading.Thread(target=self._lane, args=(lane,), name=f"lane {lane}")
            for lane in sorted({injection.lane for injection in self.plan.injections})
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            done = len(self.records)
            self.progress.update(
                self._passed(), f"{done} of {len(self.plan.injections)} injections"
            )
            threads[0].join(0.3)
            for thread in threads:
                thread.join(0.1)
        for thread in list(self.stage.healing):
            thread.join()
        left = self.plan.seconds - self._passed()
        self.stage.over.wait(max(0.0, left))

    def _passed(self) -> float:
        return time.monotonic() - self._began

    def _lane(self, lane: str) -> None:
        for injection in self.plan.injections:
            if injection.lane != lane:
                continue
            self.stage.over.wait(max(0.0, injection.at - self._passed()))
            if self.stage.over.is_set() or self._passed() > self.plan.seconds * OVERTIME:
                return
            # What is late leaves out what was planned beyond the least, so that nothing is void.
            if not injection.is_extra or self._passed() < injection.at + LATE:
                self._one(injection)

    def _one(self, injection: Injection) -> None:
        record = Record(injection=injection)
        try:
            self.inject[injection.fault](self.stage, record)
        except MISFORTUNES as error:
            record.notes["error"] = f"{type(error).__name__}: {error}"[:300]
            self.stage.mend()
            record.healed = time.time()
        with self._lock:
            self.records.append(record)
        seen = [name for name, value in record.facts.items() if value]
        lacking = [name for name, value in record.facts.items() if not value]
        self.progress.say(
            f"{injection.fault:6} {injection.way:40} in flight {record.in_flight:3}"
            f"  seen: {', '.join(seen) or '-'}"
            + (f"  NOT SEEN: {', '.join(lacking)}" if lacking else "")
            + (f"  {record.notes}" if record.notes else "")
        )
