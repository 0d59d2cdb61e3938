"""The workload: seeded clients that order, ask again, cancel, repeat themselves and look."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from config.chaos.history import Entry, History, Outcome
from config.chaos.judge import FINAL
from config.chaos.site import Program
from config.seeding import Seeded, SeededCustomer

AGAIN_AFTER: Final = 0.3
LOOK_EVERY: Final = 0.25
LOOK_AT_MOST: Final = 25.0
"""Seconds after which a client leaves an order to itself; the final count looks at all."""
RESOLVE_WITHIN: Final = 60.0
TOO_MANY: Final = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a client is about to do, as its generator has drawn it."""

    key: str
    body: dict[str, Any]
    twice: bool = False
    """The same request is sent again although it was answered."""
    altered: bool = False
    """Another request is sent under the same key."""
    cancel_after: float | None = None


@dataclass(kw_only=True)
class Client:
    """One of them; each has a generator of its own, so that no other moves it."""

    number: int
    customer: SeededCustomer
    skus: Sequence[str]
    cards: Sequence[tuple[str, int]]
    program: Program
    rng: random.Random
    stop: threading.Event
    open_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Keys without an answer yet, and what was asked under them."""
    _count: int = 0

    def run(self) -> None:
        """Go on until told to stop, then see that no key is left without an answer."""
        while not self.stop.is_set():
            self._once(self._wish())
        deadline = time.monotonic() + RESOLVE_WITHIN
        for key, body in list(self.open_keys.items()):
            self._until_answered(key, body, deadline)

    def _wish(self) -> Wish:
        self._count += 1
        rng = self.rng
        kinds, weights = zip(*self.cards, strict=True)
        [card] = rng.choices(kinds, weights)
        quantity = TOO_MANY if rng.random() < 0.05 else rng.randint(1, 2)
        sku = "NO-SUCH-ITEM" if rng.random() < 0.04 else rng.choice(self.skus)
        body = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "payment_method": str(self.customer.payment_methods[card]),
        }
        return Wish(
            key=f"{self.number}-{self._count}-{rng.getrandbits(64):016x}",
            body=body,
            twice=rng.random() < 0.1,
            altered=rng.random() < 0.03,
            cancel_after=rng.uniform(0, 0.4) if rng.random() < 0.15 else None,
        )

    def _once(self, wish: Wish) -> None:
        entry = self._until_answered(wish.key, wish.body, time.monotonic() + LOOK_AT_MOST)
        if entry is None or entry.outcome is not Outcome.OK:
            self.stop.wait(AGAIN_AFTER)
            return
        if wish.twice:
            self.program.place(wish.key, wish.body)
        if wish.altered:
            self._alter(wish)
        if wish.cancel_after is not None:
            self.stop.wait(wish.cancel_after)
            self.program.cancel(f"{wish.key}-cancel", entry.order_id)
        self._look(entry.order_id)

    def until_answered(self, key: str, body: dict[str, Any]) -> None:
        """Repeat a request that somebody has sent for this client until it is answered."""
        self._until_answered(key, body, time.monotonic() + LOOK_AT_MOST)

    def _alter(self, wish: Wish) -> None:
        """Send something else under the key; a server that took it would be found in the log."""
        lines = [{**line, "quantity": line["quantity"] + 1} for line in wish.body["lines"]]
        self.program.place(wish.key, {**wish.body, "lines": lines})

    def _until_answered(self, key: str, body: dict[str, Any], deadline: float) -> Entry | None:
        """Send the same request under the same key until the answer is definite."""
        self.open_keys[key] = body
        while True:
            entry = self.program.place(key, body)
            if entry.outcome is not Outcome.INFO:
                del self.open_keys[key]
                return entry
            if time.monotonic() > deadline:
                return None
            threading.Event().wait(AGAIN_AFTER)

    def _look(self, order_id: str) -> None:
        deadline = time.monotonic() + LOOK_AT_MOST
        while not self.stop.is_set() and time.monotonic() < deadline:
            if self.program.read(order_id).seen in FINAL:
                return
            self.stop.wait(LOOK_EVERY)


class Clients:
    """All of them, each in a thread."""

    def __init__(
        self,
        *,
        seed: int,
        seeded: Seeded,
        cards: Sequence[tuple[str, int]],
        sites: list[str],
        history: History,
    ) -> None:
        """Give each its customer and its generator."""
        self.stop = threading.Event()
        self.history = history
        self.clients = [
            Client(
                number=number,
                customer=customer,
                skus=[sku.sku for sku in seeded.skus],
                cards=cards,
                program=Program(
                    number=number, token=customer.token, sites=sites, history=history, turn=number
                ),
                rng=random.Random(f"{seed}:client:{number}"),
                stop=self.stop,
            )
            for number, customer in enumerate(seeded.customers)
        ]
        self._threads = [
            threading.Thread(target=client.run, name=f"client{client.number}", daemon=True)
            for client in self.clients
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> int:
        """Stop ordering, resolve what is unknown; returns how many keys stay unknown."""
        self.stop.set()
        for thread in self._threads:
            thread.join(RESOLVE_WITHIN + 30)
        return sum(len(client.open_keys) for client in self.clients)

    def who_placed(self, order_id: str) -> Client | None:
        """Return the client that has placed an order; None while it does not know yet."""
        for entry in reversed(self.history.entries):
            if entry.order_id == order_id and entry.op == "place":
                return self.clients[entry.client]
        return None
