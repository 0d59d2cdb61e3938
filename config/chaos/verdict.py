"""The verdict: one line for each fault and each invariant, and the totals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from config.chaos.catalog import BY_ID, ENOUGH, Fault
from config.chaos.figures import Recovery
from config.chaos.judge import Judgment
from config.chaos.stage import Record


class Word(StrEnum):
    """What a line comes to; the run is red if one is red or void."""

    OK = "ok"
    SLOW = "slow"
    """All is well, and took longer than is expected under the fast profile. Not red."""
    VOID = "void"
    """Not enough was seen to strike, so nothing was shown."""
    RED = "red"


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultLine:
    """One fault."""

    fault: str
    says: str
    injected: int
    evidence: int
    in_flight: int
    recovery: Recovery
    verdict: Word
    why: str = ""


@dataclass(kw_only=True, slots=True)
class InvariantLine:
    """One invariant, or one comparison with a witness outside."""

    id: str
    name: str
    checked: int
    violations: int = 0
    worst: str | None = None

    @property
    def verdict(self) -> Word:
        """Return whether it held; what was never looked at has shown nothing."""
        if self.violations:
            return Word.RED
        return Word.OK if self.checked else Word.VOID


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How it was when the faults had ended."""

    base_line: float
    rate_after: float
    back_after: float | None
    rest_after: float | None
    """Seconds after the heal until nothing was under way; nothing: not within the bound."""
    bound: float
    had_load: bool
    """Whether sagas were under way at the heal; else the run shows nothing."""
    workload_goes_on: bool = True
    """Whether clients went on after the heal, so that a rate could be taken."""


@dataclass(kw_only=True, slots=True)
class Verdict:
    """Everything that is printed at the end."""

    seed: int
    plan: str
    revision: str
    mode: str
    faults: list[FaultLine]
    invariants: list[InvariantLine]
    judgment: Judgment
    ending: Ending
    left_out: list[str] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)
    """Processes that ended though nobody meant them to."""
    snapshots: int = 0
    skipped: int = 0
    """Snapshots that could not be taken, since the database was away."""
    history: str = ""
    stuck: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """Return everything that makes the run red."""
        bad = {Word.RED, Word.VOID}
        found = [
            f"{line.fault} is {line.verdict}: {line.why}"
            for line in self.faults
            if line.verdict in bad
        ]
        found += [
            f"{line.id} is {line.verdict}: {line.worst or 'nothing was looked at'}"
            for line in self.invariants
            if line.verdict in bad
        ]
        judged = self.judgment
        for name in ("lost", "duplicated", "stuck", "wrong", "unread"):
            named: list[str] = getattr(judged, name)
            found += [f"{name}: {', '.join(named[:3])}"] if named else []
        return found + self._of_the_ending()

    def _of_the_ending(self) -> list[str]:
        ending = self.ending
        found = []
        if not ending.had_load or not self.judgment.accepted:
            found.append("void: the workload had finished before the heal")
        if ending.rest_after is None:
            found.append(f"no rest within {ending.bound:g} s of the heal")
        if ending.workload_goes_on and ending.back_after is None:
            found.append(
                f"the rate is not back: {ending.rate_after:.1f}/s of {ending.base_line:.1f}/s"
            )
        if self.judgment.unknown:
            found.append(f"{self.judgment.unknown} keys were never answered")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the document of ``--json``."""
        document = asdict(self)
        for line, own in zip(document["invariants"], self.invariants, strict=True):
            line["verdict"] = str(own.verdict)
        return document | {"red": self.complaints(), "ok": not self.complaints()}

    def lines(self) -> list[str]:
        """Return the table."""
        return [*self._faults(), *self._invariants(), *self._totals()]

    def _faults(self) -> list[str]:
        head = f"{'fault':7}{'injected':>9}{'evidence':>10}{'in-flight':>11}"
        rows = [f"{head}  {'recovery p50/p95/max':24}verdict"]
        for line in self.faults:
            took = line.recovery
            column = f"{took.p50:.1f} / {took.p95:.1f} / {took.longest:.1f} s"
            rows.append(
                f"{line.fault:7}{line.injected:>9}{line.evidence:>10}{line.in_flight:>11}"
                f"  {column:24}{line.verdict}{f': {line.why}' if line.why else ''}"
            )
        return rows

    def _invariants(self) -> list[str]:
        rows = [f"{'inv':7}{'checked':>12}{'violations':>12}  {'worst case':40}verdict"]
        for line in self.invariants:
            worst = (line.worst or "-")[:120]
            rows.append(
                f"{line.id:7}{line.checked:>12,}{line.violations:>12,}  {worst:40}{line.verdict}"
            )
        return rows

    def _totals(self) -> list[str]:
        judged, ending = self.judgment, self.ending
        named = f" ({', '.join(judged.parked[:3])})" if judged.parked else ""
        back = "not back" if ending.back_after is None else f"in {ending.back_after:.0f} s"
        after = (
            f"after heal {ending.rate_after:.1f}/s {back}"
            if ending.workload_goes_on
            else "no orders after heal"
        )
        rest = "no rest" if ending.rest_after is None else f"rest after {ending.rest_after:.1f} s"
        counts = "  ".join(
            f"{name} {len(getattr(judged, name))}"
            for name in ("lost", "duplicated", "stuck", "wrong", "parked")
        )
        who = f"seed {self.seed}  plan {self.plan}  revision {self.revision}"
        seen = f"snapshots {self.snapshots}, {self.skipped} while the database was away"
        rows = [
            f"totals  accepted {judged.accepted:,}  terminal {judged.terminal:,}  {counts}{named}",
            f"{who}  base line {ending.base_line:.1f}/s  {after}  {rest}",
            f"{seen}; deaths that nobody meant: {len(self.deaths)}; history {self.history}",
        ]
        rows += [f"left out, the time is too short: {', '.join(self.left_out)}"] * bool(
            self.left_out
        )
        rows += [f"RED  {complaint}" for complaint in self.complaints()]
        return rows


def is_evidenced(fault: Fault, record: Record) -> bool:
    """Say whether an injection is known to have struck something."""
    seen = all(record.facts.get(fact, False) for fact in fault.needs)
    return seen and (record.in_flight > 0 or not fault.needs_load)


def fault_line(
    fault: Fault, records: Sequence[Record], took: Recovery, *, fast: bool = True
) -> FaultLine:
    """Judge one fault by what was noted of its injections."""
    evidence = sum(is_evidenced(fault, record) for record in records)
    broken = [fact for record in records for fact in fault.holds if record.facts.get(fact) is False]
    if broken:
        verdict, why = Word.RED, f"{', '.join(sorted(set(broken)))} does not hold"
    elif took.unfinished:
        verdict, why = Word.RED, f"{took.unfinished} sagas in flight never ended"
    elif evidence < ENOUGH:
        verdict, why = Word.VOID, _missing(fault, records)
    elif fast and took.p95 > fault.bar:
        verdict, why = Word.SLOW, f"expected are {fault.bar:g} s"
    else:
        verdict, why = Word.OK, ""
    return FaultLine(
        fault=fault.id,
        says=fault.says,
        injected=len(records),
        evidence=evidence,
        in_flight=took.sagas,
        recovery=took,
        verdict=verdict,
        why=why,
    )


def _missing(fault: Fault, records: Sequence[Record]) -> str:
    found = []
    for record in records:
        lacking = [fact for fact in fault.needs if not record.facts.get(fact)]
        if lacking:
            found.append(f"{record.injection.way or fault.id}: no {', '.join(lacking)}")
    return "; ".join(found[:3]) or "too few injections"


def merged(lines: Iterable[InvariantLine]) -> list[InvariantLine]:
    """Add up the lines of one invariant over all snapshots; the worst is the first one seen."""
    found: dict[str, InvariantLine] = {}
    for line in lines:
        kept = found.setdefault(line.id, InvariantLine(id=line.id, name=line.name, checked=0))
        kept.checked += line.checked
        kept.violations += line.violations
        kept.worst = kept.worst or line.worst
    return list(found.values())


def by_fault(records: Iterable[Record]) -> Mapping[str, list[Record]]:
    """Sort the injections by fault, in the order of the catalog."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.injection.fault, []).append(record)
    return {name: found[name] for name in BY_ID if name in found}
