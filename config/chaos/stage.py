"""What an injection works with, and what it notes down."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import psycopg

from config.chaos.clients import Clients
from config.chaos.plan import Injection
from config.chaos.product import Product
from config.chaos.servers import Servers, wait_for
from config.chaos.world import Managed, World

UNDER_WAY: Final = "SELECT count(*) FROM audit.v_sagas WHERE finished_at IS NULL"
LEASED: Final = """
SELECT saga_id::text FROM audit.v_sagas
WHERE finished_at IS NULL AND leased_until > clock_timestamp()
"""
HIT_WITHIN: Final = 12.0
READY_WITHIN: Final = 60.0


@dataclass(kw_only=True)
class Record:
    """One injection as it went."""

    injection: Injection
    facts: dict[str, bool] = field(default_factory=dict)
    notes: dict[str, object] = field(default_factory=dict)
    began: float = 0.0
    """Seconds since the epoch at which it struck."""
    healed: float = 0.0
    """When everything that it had broken was there again."""
    in_flight: int = 0
    touched: list[str] = field(default_factory=list)
    """The sagas that somebody was at work on; without it, all that were under way count."""


@dataclass(kw_only=True)
class Stage:
    """The running system."""

    servers: Servers
    product: Product
    clients: Clients
    lease: float
    bound: float
    """Seconds after a heal in which everything has to have ended."""
    healing: list[threading.Thread] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the faults have to end."""

    @property
    def world(self) -> World:
        """Return the processes."""
        return self.product.world

    def workers(self) -> list[Managed]:
        """Return the workers that run now."""
        return [each for each in self.world.of("worker") if each.alive]

    def pick(self, kind: str, victim: int) -> Managed | None:
        """Return the process that the plan means, of those that run."""
        running = [each for each in self.world.of(kind) if each.alive]
        return running[victim % len(running)] if running else None

    def strike(self, record: Record) -> None:
        """Note the moment, and what is under way."""
        record.began = time.time()
        under_way = self.ask(UNDER_WAY)
        # While the database is away nobody can count; the final count is by time in any case.
        record.in_flight = int(str(under_way[0][0])) if under_way else 1
        if record.injection.lane == "processes":
            record.touched = [str(row[0]) for row in self.ask(LEASED)]

    def ask(self, question: str) -> list[tuple[object, ...]]:
        """Ask the database; nothing while it is away."""
        try:
            with self.servers.database() as connection:
                return connection.execute(question.encode()).fetchall()
        except psycopg.Error:
            return []

    def mend(self) -> None:
        """Let everything run again that a fault has kept down."""
        self.servers.broker_wanted = self.servers.database_wanted = True
        for each in self.world.managed:
            each.wanted = each.name != "beat2"
            if each.alive:
                each.signal_group(signal.SIGCONT)

    def heal_later(self, record: Record, is_healed: Callable[[], bool]) -> None:
        """Note the heal when it comes; meanwhile the plan goes on."""

        def wait() -> None:
            record.notes["restarted"] = is_healed()
            record.healed = time.time()

        thread = threading.Thread(target=wait, name=f"heal {record.injection.fault}")
        thread.start()
        self.healing.append(thread)

    def await_crew(self, kind: str) -> None:
        """Wait until so many work again that a fault meets somebody at work."""
        crew = self.world.of(kind)
        least = min(2, len(crew))
        wait_for(
            lambda: (
                self.over.is_set() or sum(self.product.is_ready(each) for each in crew) >= least
            ),
            READY_WITHIN,
        )

    def ready(self, each: Managed, before: int) -> bool:
        """Wait until a process that has died is there again, and works."""
        return wait_for(lambda: each.deaths > before and self.product.is_ready(each), READY_WITHIN)


Inject = Callable[[Stage, Record], None]
