"""Blocks of sagas in paired rounds, and single sagas on an idle system."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from config.bench import effects
from config.bench.machine import DRIVER, Cost, Meter, cost
from config.bench.outcome import PATIENCE, Wrong
from config.bench.sides import AGAINST, OURS, SIDES, Kind, Sides, complaint, start_one

SETTLE: Final = 0.3
"""Seconds after the last commit in which acknowledgments and done-keys are written."""
PER_SECOND: Final = 10
"""Rate at which single sagas are started on an idle system."""
TURNS: Final = 4
"""Turns that the sides take at the latency, so that a drift of the machine hits both."""

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One measured block of sagas on one side."""

    side: str
    sagas: int
    wall: float
    cost: Cost

    @property
    def cpu(self) -> float:
        """Return all CPU seconds, the driver's included."""
        return sum(self.cost.seconds.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """Everything that was measured of one kind of saga."""

    pairs: tuple[tuple[Block, Block], ...]
    """Ours and the other side's block of each round."""
    latencies: dict[str, list[float]]
    """Milliseconds of single sagas on an idle system, by side."""


def order(rounds: int) -> Iterator[tuple[str, str]]:
    """Give each round's order: A B, B A, A B …, so that a drift of the machine hits both."""
    for number in range(rounds):
        yield (OURS, AGAINST) if number % 2 == 0 else (AGAINST, OURS)


class Measuring:
    """Runs the blocks of one kind of saga."""

    def __init__(self, sides: Sides, kind: Kind, progress: Progress) -> None:
        """Take the running processes and where progress is shown."""
        self.sides = sides
        self.kind = kind
        self.progress = progress

    def run(self, *, sagas: int, rounds: int, singles: int, warm_up: int) -> Measured:
        """Warm both sides up, measure the paired rounds, then the latency of single sagas.

        :raises Wrong: if a saga did not end as it had to
        """
        word = "failing sagas" if self.kind.failing else "sagas"
        for side in SIDES:
            self.progress(f"{word}: warm-up, {side}")
            self._block(side, warm_up)
        pairs = []
        for number, sides in enumerate(order(rounds), 1):
            blocks = {}
            for side in sides:
                self.progress(f"{word}: round {number} of {rounds}, {side}")
                blocks[side] = self._block(side, sagas)
            pairs.append((blocks[OURS], blocks[AGAINST]))
        latencies: dict[str, list[float]] = {side: [] for side in SIDES}
        parts = [singles // TURNS + (turn < singles % TURNS) for turn in range(TURNS)]
        for number, (part, sides) in enumerate(zip(parts, order(TURNS), strict=True), 1):
            for side in sides:
                self.progress(f"{word}: latency, turn {number} of {TURNS}, {side}")
                latencies[side] += self._latency(side, part)
        return Measured(pairs=tuple(pairs), latencies=latencies)

    def _block(self, side: str, sagas: int) -> Block:
        effects.empty_tables()
        meter = Meter(self.sides.processes_of(side))
        with self.sides.only(side):
            before = meter.read()
            began, driver = time.monotonic(), time.process_time()
            started = [start_one(side, self.kind) for _ in range(sagas)]
            driver = time.process_time() - driver
            self._await(sagas, 0.02)
            wall = time.monotonic() - began
            threading.Event().wait(SETTLE)
            spent = cost(before, meter.read())
        wrong = complaint(side, started, failing=self.kind.failing)
        if wrong is not None:
            raise Wrong(f"{side}: {wrong}")
        spent = replace(spent, seconds={**spent.seconds, DRIVER: driver})
        return Block(side=side, sagas=sagas, wall=wall, cost=spent)

    def _latency(self, side: str, singles: int) -> list[float]:
        effects.empty_tables()
        taken = []
        started = []
        with self.sides.only(side):
            for number in range(singles):
                began = time.monotonic()
                started.append(start_one(side, self.kind))
                self._await(number + 1, 0.0005)
                taken.append((time.monotonic() - began) * 1000)
                threading.Event().wait(max(0.0, 1 / PER_SECOND - taken[-1] / 1000))
            threading.Event().wait(SETTLE)
        wrong = complaint(side, started, failing=self.kind.failing)
        if wrong is not None:
            raise Wrong(f"{side}: {wrong}")
        return taken

    def _await(self, sagas: int, pause: float) -> None:
        deadline = time.monotonic() + PATIENCE
        while effects.ended(failing=self.kind.failing) < sagas:
            if time.monotonic() > deadline:
                died = self.sides.ended()
                raise Wrong(died or f"not all sagas had ended after {PATIENCE:.0f} s")
            threading.Event().wait(pause)
