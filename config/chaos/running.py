"""One run from the first server to the verdict."""

import io
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from config import seeding
from config.chaos import figures, witnesses
from config.chaos.catalog import BY_ID
from config.chaos.clients import Clients
from config.chaos.figures import Life
from config.chaos.history import Entry, History, Outcome
from config.chaos.injections import INJECT
from config.chaos.injections.provider import control
from config.chaos.judge import Judgment, compare_money, judge
from config.chaos.lanes import Lanes
from config.chaos.plan import Plan
from config.chaos.product import Sizes, assemble, revision
from config.chaos.progress import Progress
from config.chaos.servers import Servers, wait_for
from config.chaos.stage import Record, Stage
from config.chaos.verdict import (
    Ending,
    FaultLine,
    InvariantLine,
    Verdict,
    by_fault,
    fault_line,
    merged,
)

SKUS: Final = 12
WARM_UP: Final = 5.0
BACK_WITHIN: Final = 30.0
SETTLE_WITHIN: Final = 40.0
LOAD_WINDOW: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a run is asked for beside its plan."""

    sizes: Sizes
    bound: float
    """Seconds after the heal in which everything has to have ended."""
    base_line: float
    """Seconds for which the rate is measured before the faults."""


@dataclass(kw_only=True, slots=True)
class Times:
    """When the parts of the run began, in seconds since the epoch."""

    base_from: float = 0.0
    base_to: float = 0.0
    healed: float = 0.0
    watched_to: float = 0.0
    rest: float | None = None
    load_ended: bool = False


class Run:
    """One run."""

    def __init__(self, plan: Plan, terms: Terms, folder: Path, progress: Progress) -> None:
        """Prepare it; nothing is started yet."""
        self.plan = plan
        self.terms = terms
        self.folder = folder
        self.progress = progress
        self.servers = Servers()
        self.times = Times()
        self.poll = witnesses.Poll()
        self.product = assemble(self.servers, folder, terms.sizes)

    def go(self) -> Verdict:
        """Do everything, and end everything that was started."""
        with History(self.folder / "history.jsonl") as history:
            try:
                return self._go(history)
            finally:
                self.product.world.end()
                connections.close_all()
                self.servers.end()

    def _go(self, history: History) -> Verdict:
        clients = self._begin(history)
        stage = Stage(
            servers=self.servers,
            product=self.product,
            clients=clients,
            lease=float(settings.SAGAS["LEASE"]),
            bound=self.terms.bound,
        )
        clients.start()
        self._measure(stage)
        is_safety = self.plan.mode == "safety"
        # No snapshot spans several databases; there everything is asked at rest alone.
        polls = is_safety and not settings.CONTEXT_URLS
        if polls:
            self.poll.start()
        lanes = Lanes(stage, self.plan, INJECT, self.progress)
        self.progress.say("faults begin")
        lanes.run()
        self._heal(stage)
        if is_safety:
            self._await_rate()
        self.times.watched_to = time.time()
        self.progress.say("no new orders; waiting for rest")
        unknown = clients.end()
        self._await_rest()
        if polls:
            self.poll.end()
        return self._judge(lanes.records, history, unknown)

    def _begin(self, history: History) -> Clients:
        self.progress.say("starting PostgreSQL and Valkey, empty")
        self.servers.begin()
        call_command("migrate", verbosity=0, interactive=False, stdout=io.StringIO())
        seeded = seeding.seed(customers=self.plan.clients, skus=SKUS, operators=False)
        connections.close_all()
        self.progress.say("starting the product")
        self.product.start()
        return Clients(
            seed=self.plan.seed,
            seeded=seeded,
            cards=self.plan.cards,
            sites=self.product.sites,
            history=history,
        )

    def _measure(self, stage: Stage) -> None:
        self.progress.say("warming up")
        stage.over.wait(WARM_UP)
        self.times.base_from = time.time()
        self.progress.say(f"base line, {self.terms.base_line:g} s")
        stage.over.wait(self.terms.base_line)
        self.times.base_to = time.time()

    def _heal(self, stage: Stage) -> None:
        stage.over.set()
        stage.mend()
        control(stage, "DELETE")
        self.servers.await_broker()
        self.servers.await_database()
        for each in self.product.world.managed:
            if each.wanted:
                wait_for(partial(self.product.is_ready, each), 60)
        self.times.healed = time.time()
        self.progress.say("healed")

    def _await_rate(self) -> None:
        """Let the clients go on until the rate is back."""
        began, ended = self.times.base_from, self.times.base_to

        def is_back() -> bool:
            lives = witnesses.lives()
            base = figures.rate(lives, began, ended)
            return figures.back_after(lives, self.times.healed, time.time(), base)[0] is not None

        wait_for(is_back, BACK_WITHIN, 1.0)

    def _await_rest(self) -> None:
        left = self.times.healed + self.terms.bound - time.time()
        if wait_for(lambda: witnesses.unended() == 0, max(1.0, left), 0.25):
            self.times.rest = time.time()
        wait_for(self._is_settled, SETTLE_WITHIN, 1.0)

    def _is_settled(self) -> bool:
        """Say whether the events have reached everybody too."""
        return not any(line.violations for line in witnesses.at_rest())

    def _judge(self, records: list[Record], history: History, unknown: int) -> Verdict:
        lives = witnesses.lives()
        found = witnesses.orders()
        judgment = judge(history.entries, found, witnesses.keyed())
        judgment.unknown = max(judgment.unknown, unknown)
        books, theirs = witnesses.books(), witnesses.provider()
        money = compare_money(books, theirs, found)
        judgment.wrong += money
        lines = merged([*self.poll.lines, *witnesses.at_rest()])
        lines += outside(judgment, history.entries, len(books.keys() | theirs.keys()), money)
        verdict = Verdict(
            seed=self.plan.seed,
            plan=self.plan.digest,
            revision=revision(),
            mode=self.plan.mode,
            faults=self._fault_lines(records, lives),
            invariants=lines,
            judgment=judgment,
            ending=self._ending(lives),
            left_out=list(self.plan.left_out),
            deaths=[f"{each.name} with {each.code}" for each in self.product.world.unexpected],
            snapshots=self.poll.snapshots,
            skipped=self.poll.skipped,
            history=str(self.folder.relative_to(self.folder.parents[2])),
            stuck=witnesses.stuck(),
        )
        self._keep(verdict, records)
        return verdict

    def _fault_lines(self, records: list[Record], lives: list[Life]) -> list[FaultLine]:
        planned = {injection.fault for injection in self.plan.injections}
        sorted_records = by_fault(records)
        found = []
        for name in BY_ID:
            if name not in planned:
                continue
            own = sorted_records.get(name, [])
            spans = [(each.began, each.healed, each.touched) for each in own if each.began]
            took = figures.recovery(lives, spans)
            fast = bool(settings.FAST)
            found.append(fault_line(BY_ID[name], own, took, fast=fast))
        return found

    def _ending(self, lives: list[Life]) -> Ending:
        times = self.times
        base = figures.rate(lives, times.base_from, times.base_to)
        back, after = figures.back_after(lives, times.healed, times.watched_to, base)
        return Ending(
            base_line=base,
            rate_after=after,
            back_after=back,
            rest_after=None if times.rest is None else times.rest - times.healed,
            bound=self.terms.bound,
            had_load=any(times.healed - LOAD_WINDOW <= life.began for life in lives),
            workload_goes_on=self.plan.mode == "safety",
        )

    def _keep(self, verdict: Verdict, records: list[Record]) -> None:
        document = {
            "plan": asdict(self.plan),
            "verdict": verdict.as_dict(),
            "slowest": witnesses.slowest(),
            "records": [asdict(record) for record in records],
            "deaths": [asdict(death) for death in self.product.world.unexpected],
        }
        (self.folder / "verdict.json").write_text(json.dumps(document, indent=1, default=str))


def outside(
    judgment: Judgment, entries: list[Entry], payments: int, money: list[str]
) -> list[InvariantLine]:
    """Make the lines of the witnesses outside the database."""
    orders = [*judgment.lost, *judgment.duplicated]
    placed = sum(entry.op == "place" for entry in entries)
    read = sum(entry.op == "read" and entry.outcome is Outcome.OK for entry in entries)
    rows = (
        ("I1p", "the provider's own list", payments, money),
        ("I12c", "the clients' log", placed, orders),
        ("I13", "what was accepted is found", read, judgment.unread),
    )
    return [
        InvariantLine(
            id=name,
            name=says,
            checked=checked,
            violations=len(wrong),
            worst=wrong[0] if wrong else None,
        )
        for name, says, checked, wrong in rows
    ]
