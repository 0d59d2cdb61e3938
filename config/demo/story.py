"""Which orders are placed, and watching how each ends."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Final
from uuid import UUID

from config.demo.site import Json, Refused, Site

POLL: Final = 0.25
PENDING: Final = "pending"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of order."""

    what: str
    card: str
    ends: str
    too_many: bool = False
    """More is ordered than there is."""
    canceled: bool = False
    """The customer takes it back at once."""


KINDS: Final = (
    Kind(what="a good card", card="good", ends="confirmed"),
    Kind(what="a card that is declined", card="declined", ends="failed"),
    Kind(what="more than is in stock", card="good", ends="failed", too_many=True),
    Kind(what="charged, but the answer is lost", card="timeout_after", ends="confirmed"),
    Kind(what="a slow bank", card="slow", ends="confirmed"),
    Kind(what="canceled by the customer", card="slow", ends="canceled", canceled=True),
    Kind(what="refused at the last moment", card="capture_declined", ends="failed"),
)


@dataclass(kw_only=True)
class Placed:
    """An order of the demo, as it was last seen."""

    kind: Kind
    expected: str
    document: Json
    at: float
    ended_after: float | None = None

    @property
    def status(self) -> str:
        """Return the status."""
        return str(self.document["status"])

    @property
    def as_expected(self) -> bool:
        """Return whether it has ended, and as it should."""
        return self.status == self.expected


@dataclass(kw_only=True)
class Story:
    """One demo."""

    site: Site
    methods: Mapping[str, UUID]
    say: Callable[[str], None]
    patience: float
    """Seconds in which every order has to end."""
    orders: list[Placed] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def tell(self) -> bool:
        """Place an order of each kind and follow all to their ends; say if each was expected."""
        (item, *_) = self.site.items()
        for kind in KINDS:
            self._place(kind, item)
        while self._pending() and self._seconds() < self.patience:
            for order in self._pending():
                self._look_at(order)
            Event().wait(POLL)
        return all(order.as_expected for order in self.orders)

    def summary(self) -> list[str]:
        """Return one line for each order."""
        invoices = self.site.invoice_numbers()
        return [
            f"{'ok' if order.as_expected else 'NOT AS EXPECTED':3} {order.document['number']:>8}"
            f"  {order.kind.what:34}{order.status:11}"
            f"{_took(order)}  {_result(order, invoices)}".rstrip()
            for order in self.orders
        ]

    def _place(self, kind: Kind, item: Json) -> None:
        document = self.site.place_order(
            sku=item["sku"],
            quantity=item["available"] + 1 if kind.too_many else 1,
            payment_method=self.methods[kind.card],
        )
        order = Placed(kind=kind, expected=kind.ends, document=document, at=self._seconds())
        self.orders.append(order)
        self._show(order)
        if kind.canceled:
            self._cancel(order)

    def _cancel(self, order: Placed) -> None:
        try:
            self.site.cancel(order.document["id"])
        except Refused as refused:
            if refused.status != 409:
                raise
            # The money was taken first; that answer is final, and so is the order.
            order.expected = "confirmed"
            self.say(f"{self._seconds():6.1f} s  the cancellation came too late")

    def _look_at(self, order: Placed) -> None:
        seen = self.site.order(order.document["id"])
        changed = (seen["status"], seen["progress"]) != (order.status, order.document["progress"])
        order.document = seen
        if order.status != PENDING:
            order.ended_after = self._seconds() - order.at
        if changed:
            self._show(order)

    def _show(self, order: Placed) -> None:
        document = order.document
        self.say(
            f"{self._seconds():6.1f} s  {document['number']}  {order.kind.what:34}"
            f"{order.status:11}{document['progress']}"
        )

    def _pending(self) -> list[Placed]:
        return [order for order in self.orders if order.status == PENDING]

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def _took(order: Placed) -> str:
    if order.ended_after is None:
        return f"{'not ended':>10}"
    return f"{order.ended_after:8.1f} s"


def _result(order: Placed, invoices: Mapping[str, str]) -> str:
    if order.document["id"] in invoices:
        return f"invoice {invoices[order.document['id']]}"
    return str(order.document["reason"] or "")
