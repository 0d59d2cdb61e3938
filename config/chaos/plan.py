"""From a seed to a plan: the same seed, faults and time give the same plan."""

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from config.chaos.catalog import TIMES, Fault, Lane

SLACK: Final = 0.97
"""Part of a lane's time that is planned; the rest is for what takes longer than expected."""
KILLED: Final = ("child", "child", "child", "child", "parent", "group")
CARDS: Final = (
    ("good", 62),
    ("capture_declined", 10),
    ("declined", 8),
    ("insufficient_funds", 4),
    ("timeout_after", 4),
    ("error_after", 4),
    ("timeout_before", 2),
    ("slow", 6),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Injection:
    """One fault at one time."""

    fault: str
    lane: str
    at: float
    """Seconds after the faults begin."""
    way: str
    how: str
    """Whom a kill takes: the pool child, its parent, or the worker with all its children."""
    victim: int
    """Which of those there are, counted round."""
    seconds: float
    """How long it lasts, where it lasts."""
    is_extra: bool = False
    """Whether it is one more than the least number; left out when the lane is late."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that follows from the seed."""

    seed: int
    seconds: float
    mode: str
    clients: int
    cards: tuple[tuple[str, int], ...]
    injections: tuple[Injection, ...]
    left_out: tuple[str, ...]
    """Faults for which the time does not suffice."""

    @property
    def digest(self) -> str:
        """Return the hash by which two plans are told apart."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def of(self, fault: str) -> list[Injection]:
        """Return the injections of one fault."""
        return [injection for injection in self.injections if injection.fault == fault]

    def lines(self) -> list[str]:
        """Return the plan as a reader wants it."""
        terms = f"{self.seconds:g} s  {self.mode}  {self.clients} clients"
        found = [f"seed {self.seed}  plan {self.digest}  {terms}"]
        found += [
            f"{each.at:7.1f} s  {each.fault:6} {each.way or '-':44} {each.how:7}"
            f" victim {each.victim}  {each.seconds:.1f} s"
            for each in self.injections
        ]
        if self.left_out:
            found.append(f"left out, the time is too short: {', '.join(self.left_out)}")
        return found


def expand(
    *,
    seed: int,
    seconds: float,
    mode: str,
    clients: int,
    lease: float,
    faults: Iterable[Fault],
    ways: Mapping[str, Sequence[str]],
) -> Plan:
    """Make the plan."""
    chosen = list(faults)
    injections: list[Injection] = []
    left_out: list[str] = []
    for lane in Lane:
        own = [fault for fault in chosen if fault.lane is lane]
        # A generator of its own for each lane, so that leaving faults out of one moves no other.
        rng = random.Random(f"{seed}:{lane}")
        planned, too_many = _lane(rng, own, seconds, lease, ways)
        injections += planned
        left_out += too_many
    injections.sort(key=lambda each: (each.at, each.lane))
    return Plan(
        seed=seed,
        seconds=seconds,
        mode=mode,
        clients=clients,
        cards=CARDS,
        injections=tuple(injections),
        left_out=tuple(sorted(left_out)),
    )


def _lane(
    rng: random.Random,
    faults: list[Fault],
    seconds: float,
    lease: float,
    ways: Mapping[str, Sequence[str]],
) -> tuple[list[Injection], list[str]]:
    room = seconds * SLACK
    order = rng.sample(faults, len(faults))
    taken: list[Fault] = []
    left_out: list[str] = []
    for fault in order:
        cost = TIMES * _cost(fault, lease)
        if cost <= room:
            taken.append(fault)
            room -= cost
        else:
            left_out.append(fault.id)
    least = [(fault, False) for fault in taken for _ in range(TIMES)]
    extra = [(fault, True) for fault in _more(taken, room, lease)]
    rounds = least + extra
    rng.shuffle(rounds)
    return _timed(rng, rounds, seconds, lease, ways), left_out


def _more(taken: list[Fault], room: float, lease: float) -> list[Fault]:
    """Fill what is left of the time, turn by turn."""
    found: list[Fault] = []
    while True:
        fitting = [fault for fault in taken if _cost(fault, lease) <= room]
        if not fitting:
            return found
        for fault in fitting:
            if _cost(fault, lease) <= room:
                found.append(fault)
                room -= _cost(fault, lease)


def _timed(
    rng: random.Random,
    rounds: list[tuple[Fault, bool]],
    seconds: float,
    lease: float,
    ways: Mapping[str, Sequence[str]],
) -> list[Injection]:
    spare = seconds - sum(_cost(fault, lease) for fault, _ in rounds)
    at = 0.0
    found = []
    turns = {fault.id: _shuffled(rng, ways.get(fault.id, fault.ways)) for fault, _ in rounds}
    for fault, is_extra in rounds:
        at += rng.uniform(0, spare / len(rounds))
        own = turns[fault.id]
        way = own.pop(0)
        own.append(way)
        found.append(
            Injection(
                fault=fault.id,
                lane=str(fault.lane),
                at=round(at, 1),
                way=way,
                how=rng.choice(KILLED),
                victim=rng.randrange(60),
                seconds=round(rng.uniform(0.4, 0.7) * fault.seconds + fault.leases * lease, 1),
                is_extra=is_extra,
            )
        )
        at += _cost(fault, lease)
    return found


def _shuffled(rng: random.Random, ways: Sequence[str]) -> list[str]:
    return rng.sample(list(ways), len(ways))


def _cost(fault: Fault, lease: float) -> float:
    return fault.seconds + fault.leases * lease
