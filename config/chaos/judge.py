"""The clients' log against what is there: nothing lost, nothing twice, nothing that was refused."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from config.chaos.history import Entry, Outcome

FINAL: Final = frozenset({"confirmed", "failed", "canceled"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An order as the database has it at rest."""

    order_id: str
    status: str
    total: int
    payment_id: str
    parked: bool = False


@dataclass(kw_only=True, slots=True)
class Judgment:
    """What is wrong, named; all empty when nothing is."""

    accepted: int = 0
    terminal: int = 0
    parked: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Promised to a client, and not there."""
    duplicated: list[str] = field(default_factory=list)
    """There, though no client's key stands for it, or two for one key."""
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """There, and not what a client was told, or not what the provider says."""
    unknown: int = 0
    """Keys that were never answered; each may stand for one order."""
    unread: list[str] = field(default_factory=list)
    """Acknowledged, and not found by the same client's next question."""


def judge(
    entries: Sequence[Entry],
    orders: Iterable[Found],
    keyed: Mapping[str, str],
) -> Judgment:
    """Hold the log against the orders.

    :param keyed: which order the database has for each Idempotency-Key
    """
    there = {order.order_id: order for order in orders}
    found = Judgment()
    told = _told(entries, found)
    promised = {order_id for ids in told.values() for order_id in ids}
    found.accepted = len(promised)
    found.lost += [f"order {order_id}" for order_id in sorted(promised - there.keys())]
    _unknown_and_refused(entries, told, keyed, there, found)
    _ends(there, found)
    _what_was_seen(entries, there, found)
    return found


def _told(entries: Sequence[Entry], found: Judgment) -> dict[str, set[str]]:
    """Collect the orders that each key was answered with."""
    told: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.op == "place" and entry.outcome is Outcome.OK:
            told[entry.key].add(entry.order_id)
    found.duplicated += [
        f"key {key} was answered with {len(ids)} orders"
        for key, ids in told.items()
        if len(ids) > 1
    ]
    return told


def _unknown_and_refused(
    entries: Sequence[Entry],
    told: Mapping[str, set[str]],
    keyed: Mapping[str, str],
    there: Mapping[str, Found],
    found: Judgment,
) -> None:
    """Nothing is there but what was told, and what a key without an answer stands for."""
    tried = {entry.key for entry in entries if entry.op == "place"}
    refused = {
        entry.key for entry in entries if entry.op == "place" and entry.outcome is Outcome.FAIL
    }
    promised = {order_id for ids in told.values() for order_id in ids}
    unanswered = tried - told.keys() - refused
    found.unknown = len(unanswered)
    allowed = promised | {keyed[key] for key in unanswered if key in keyed}
    found.duplicated += [f"order {order_id}" for order_id in sorted(there.keys() - allowed)]
    found.wrong += [
        f"key {key} was refused, and order {keyed[key]} is there"
        for key in sorted(refused - told.keys())
        if key in keyed
    ]


def _ends(there: Mapping[str, Found], found: Judgment) -> None:
    for order in there.values():
        if order.status in FINAL:
            found.terminal += 1
        elif order.parked:
            found.parked.append(order.order_id)
        else:
            found.stuck.append(f"order {order.order_id} is {order.status}")


def _what_was_seen(entries: Sequence[Entry], there: Mapping[str, Found], found: Judgment) -> None:
    for entry in entries:
        order = there.get(entry.order_id)
        if entry.op == "read" and entry.status == 404:
            found.unread.append(f"order {entry.order_id} was promised and not found")
        elif order is None:
            continue
        elif entry.op == "read" and entry.seen in FINAL and order.status != entry.seen:
            found.wrong.append(
                f"order {entry.order_id} was shown as {entry.seen} and is {order.status}"
            )
        elif entry.op == "cancel":
            _canceled(entry, order, found)


def _canceled(entry: Entry, order: Found, found: Judgment) -> None:
    if entry.outcome is Outcome.OK and order.status not in {"canceled", "pending"}:
        found.wrong.append(
            f"order {entry.order_id}: the cancellation was accepted and it is {order.status}"
        )
    if entry.outcome is Outcome.FAIL and order.status == "canceled":
        found.wrong.append(
            f"order {entry.order_id}: a cancellation was refused ({entry.seen}), and it is canceled"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Money:
    """What our books and the provider's own list say of one payment."""

    captured: int
    held: int


def compare_money(
    books: Mapping[str, Money], provider: Mapping[str, Money], orders: Iterable[Found]
) -> list[str]:
    """Name every payment of which the two differ, and every order that is not paid as it stands."""
    nothing = Money(captured=0, held=0)
    wrong = [
        f"payment {reference}: books {books.get(reference)}, provider {provider.get(reference)}"
        for reference in sorted(books.keys() | provider.keys())
        if books.get(reference, nothing) != provider.get(reference, nothing)
    ]
    for order in orders:
        if order.status not in FINAL:
            continue
        expected = order.total if order.status == "confirmed" else 0
        money = provider.get(order.payment_id, nothing)
        if (money.captured, money.held) != (expected, 0):
            wrong.append(
                f"order {order.order_id} over {order.total} is {order.status}, the provider has"
                f" {money.captured} captured and {money.held} held"
            )
    return wrong
