"""Placing the orders, never more at once than the workers can see through.

What was placed is read from the orders themselves, whose reference is the number of the
invoice, so there is nothing to lose when the replay is killed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final
from uuid import UUID

from config.replay.asking import asked
from config.replay.documents import Sale
from config.replay.preparing import CURRENCY, Buyers
from config.replay.progress import Progress
from orders.api import OrderRefused, PricedLine, Refusal, place_order

POLL: Final = 0.05

# Parked sagas count as ended: they wait for an operator, and no patience helps.
_ENDED: Final = """
SELECT o.order_id FROM audit.v_orders o JOIN audit.v_sagas s USING (saga_id)
WHERE o.order_id = ANY(%(orders)s) AND (s.finished_at IS NOT NULL OR s.parked_at IS NOT NULL)
"""
_UNENDED: Final = """
SELECT o.order_id FROM audit.v_orders o JOIN audit.v_sagas s USING (saga_id)
WHERE o.reference = ANY(%(references)s) AND s.finished_at IS NULL AND s.parked_at IS NULL
"""
# Changes whenever a worker takes a saga up; true where one is at work or a delay runs.
_SIGNS_OF_LIFE: Final = """
SELECT sum(s.fencing_token), bool_or(s.leased_until > clock_timestamp()
    OR s.not_before > clock_timestamp() - interval '5 seconds')
FROM audit.v_orders o JOIN audit.v_sagas s USING (saga_id) WHERE o.order_id = ANY(%(orders)s)
"""
_NOT_RECEIVED: Final = """
SELECT count(*) FROM audit.v_orders o JOIN audit.v_payments p USING (payment_id)
LEFT JOIN audit.v_received_payments r USING (payment_id)
WHERE o.reference = ANY(%(references)s) AND p.captured > 0 AND r.payment_id IS NULL
"""


class NobodyWorks(Exception):
    """Sagas are waiting, and no worker takes them."""


@dataclass(kw_only=True)
class Ordering:
    """One run of a replay over the sales of a file."""

    sales: Sequence[Sale]
    progress: Progress
    limit: int
    """Most orders under way at once."""
    patience: float
    """Seconds without a sign of life after which nobody can be at work."""
    refused: list[tuple[Sale, str]] = field(default_factory=list)
    under_way: set[UUID] = field(default_factory=set)
    _placed: int = 0
    _sign: object = None
    _alive_at: float = field(default_factory=time.monotonic)

    def run(self, to_place: Sequence[Sale], buyers: Buyers) -> None:
        """Place the orders and wait until all have ended.

        :raises NobodyWorks: if they do not, because no worker is there
        """
        self._placed = len(self.sales) - len(to_place)
        rows = asked(_UNENDED, references=[sale.number for sale in self.sales])
        self.under_way = {order_id for (order_id,) in rows}
        for sale in to_place:
            while len(self.under_way) >= self.limit:
                self._wait()
            self._place(sale, buyers)
        while self.under_way:
            self._wait()
        self._show(last=True)

    def await_books(self) -> None:
        """Wait until the events of the captures have reached the books, as long as any does."""
        references = [sale.number for sale in self.sales]
        fewest, fewer_at = None, time.monotonic()
        while missing := asked(_NOT_RECEIVED, references=references)[0][0]:
            if fewest is None or missing < fewest:
                fewest, fewer_at = missing, time.monotonic()
            if time.monotonic() - fewer_at > self.patience:
                self.progress.say(f"{missing:,} captured payments do not reach the books")
                return
            Event().wait(POLL)

    def _place(self, sale: Sale, buyers: Buyers) -> None:
        customer_id, method_id = buyers.of(sale)
        try:
            order = place_order(
                customer_id=customer_id,
                payment_method_id=method_id,
                reference=sale.number,
                business_date=sale.business_date,
                lines=[
                    PricedLine(
                        sku=line.sku,
                        description=line.description,
                        quantity=line.quantity,
                        unit_price=line.unit_price,
                        currency=CURRENCY,
                    )
                    for line in sale.lines
                ],
            )
        except (OrderRefused, Refusal) as refused:
            self.refused.append((sale, str(refused)))
        else:
            self.under_way.add(order.id)
        self._placed += 1
        if self._placed % 8 == 0:
            self._notice()

    def _wait(self) -> None:
        before = len(self.under_way)
        self._notice()
        if len(self.under_way) == before:
            self._check_life()
            Event().wait(POLL)

    def _notice(self) -> None:
        ended = {order_id for (order_id,) in asked(_ENDED, orders=list(self.under_way))}
        if ended:
            self.under_way -= ended
            self._alive_at = time.monotonic()
        self._show()

    def _show(self, *, last: bool = False) -> None:
        done = self._placed - len(self.under_way)
        self.progress.update(done, f"{len(self.under_way)} under way", last=last)

    def _check_life(self) -> None:
        silent = time.monotonic() - self._alive_at
        if silent < min(1.0, self.patience):
            return
        claims, is_busy = asked(_SIGNS_OF_LIFE, orders=list(self.under_way))[0]
        if is_busy or claims != self._sign:
            self._sign = claims
            self._alive_at = time.monotonic()
        elif silent > self.patience:
            raise NobodyWorks(f"{len(self.under_way)} orders wait")


def placed_numbers(sales: Sequence[Sale]) -> set[str]:
    """Return the numbers of the sales that are orders already."""
    rows = asked(
        "SELECT reference FROM audit.v_orders WHERE reference = ANY(%(references)s)",
        references=[sale.number for sale in sales],
    )
    return {reference for (reference,) in rows}
