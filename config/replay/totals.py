"""Closing the books: what the file says, held against everything that came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from config import audit
from config.replay.asking import asked
from config.replay.documents import Documents, Sale

_ORDERS: Final = """
SELECT o.reference, o.status, o.total, l.lines, i.invoices, i.total, i.settled, i.lines,
    m.captured, m.refunded, m.open_hold, b.sold, b.received, o.payment_id::text, s.parked_reason
FROM audit.v_orders o
LEFT JOIN (SELECT order_id, count(*) AS lines FROM audit.v_order_lines GROUP BY order_id) l
    USING (order_id)
LEFT JOIN (SELECT v.order_id, count(*) AS invoices, sum(v.total)::bigint AS total,
        sum(v.settled)::bigint AS settled, sum(n.lines)::bigint AS lines
    FROM audit.v_invoices v
    LEFT JOIN (SELECT invoice_id, count(*) AS lines FROM audit.v_invoice_lines
        GROUP BY invoice_id) n USING (invoice_id)
    GROUP BY v.order_id) i USING (order_id)
LEFT JOIN audit.v_money m USING (order_id)
LEFT JOIN (SELECT x.order_id,
        sum(g.amount) FILTER (WHERE g.account = '4000' AND g.side = 'C')::bigint AS sold,
        sum(g.amount) FILTER (WHERE g.account = '1100' AND g.side = 'D')::bigint AS received
    FROM (SELECT order_id, invoice_id AS source FROM audit.v_invoices
        UNION ALL SELECT order_id, payment_id FROM audit.v_orders) x
    JOIN audit.v_ledger g USING (source) GROUP BY x.order_id) b USING (order_id)
LEFT JOIN audit.v_sagas s USING (saga_id)
WHERE o.reference = ANY(%(references)s)
"""
_BALANCED: Final = """
SELECT NOT EXISTS (SELECT FROM audit.v_ledger GROUP BY entry_id, currency
    HAVING sum(CASE side WHEN 'D' THEN amount ELSE -amount END) IS DISTINCT FROM 0)
"""
_OURS: Final = "SELECT payment_id::text FROM audit.v_payments"
MOST_NAMED: Final = 20


@dataclass(kw_only=True, slots=True)
class Sum:
    """How many documents and lines there are in one book, and over how much."""

    documents: int = 0
    lines: int | None = 0
    minor: int = 0

    def add(self, minor: int, lines: int | None = None) -> None:
        """Count one document."""
        self.documents += 1
        self.minor += minor
        if lines is None or self.lines is None:
            self.lines = None
        else:
            self.lines += lines


@dataclass(kw_only=True, slots=True)
class Totals:
    """The six books, and where they differ."""

    books: dict[str, Sum]
    refunded_minor: int = 0
    unknown_here_minor: int = 0
    """What the provider took for others than our payments."""
    ledger_balanced: bool = True
    statuses: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


FILE: Final = "file"
ORDERS: Final = "orders, confirmed"
INVOICES: Final = "invoices"
SETTLED: Final = "invoices, settled"
CAPTURED: Final = "payments, captured"
PROVIDER: Final = "provider's list, captured"
SOLD: Final = "ledger, sales (4000)"
RECEIVED: Final = "ledger, received (1100)"
BOOKS: Final = (FILE, ORDERS, INVOICES, SETTLED, CAPTURED, PROVIDER, SOLD, RECEIVED)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What became of one sale."""

    reference: str
    status: str
    total: int
    lines: int | None
    invoices: int | None
    invoiced: int | None
    settled: int | None
    invoiced_lines: int | None
    captured: int | None
    refunded: int | None
    held: int | None
    sold: int | None
    received: int | None
    payment_id: str
    parked_reason: str | None


def close_books(documents: Documents, intents: Mapping[str, Sequence[Mapping[str, Any]]]) -> Totals:
    """Compare the file with all books, sale by sale.

    :param intents: the provider's own list, by our reference
    """
    with audit.snapshot():
        return _close_books(documents, intents)


def _close_books(
    documents: Documents, intents: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Totals:
    totals = Totals(books={book: Sum() for book in BOOKS})
    references = [sale.number for sale in documents.sales]
    names = _Outcome.__dataclass_fields__
    outcomes = {
        row[0]: _Outcome(**dict(zip(names, row, strict=True)))
        for row in asked(_ORDERS, references=references)
    }
    for sale in documents.sales:
        outcome = outcomes.get(sale.number)
        totals.books[FILE].add(sale.total, len(sale.lines))
        if outcome is None:
            totals.differences.append(f"{sale.number}: there is no order")
        else:
            _count(totals, outcome)
            taken = _taken(intents.get(outcome.payment_id, ()))
            if taken:
                totals.books[PROVIDER].add(taken)
            totals.differences += _differences(sale, outcome, taken)
    totals.ledger_balanced = bool(asked(_BALANCED)[0][0])
    if not totals.ledger_balanced:
        totals.differences.append("the ledger does not balance")
    totals.unknown_here_minor = _unknown_here(intents)
    return totals


def _count(totals: Totals, outcome: _Outcome) -> None:
    status = outcome.status if outcome.parked_reason is None else "parked"
    totals.statuses[status] = totals.statuses.get(status, 0) + 1
    totals.refunded_minor += outcome.refunded or 0
    if outcome.status == "confirmed":
        totals.books[ORDERS].add(outcome.total, outcome.lines or 0)
    if outcome.invoices:
        totals.books[INVOICES].add(outcome.invoiced or 0, outcome.invoiced_lines or 0)
    for book, amount in (
        (SETTLED, outcome.settled),
        (CAPTURED, outcome.captured),
        (SOLD, outcome.sold),
        (RECEIVED, outcome.received),
    ):
        if amount:
            totals.books[book].add(amount)


def _taken(intents: Sequence[Mapping[str, Any]]) -> int:
    return sum(intent["amount_captured"] - intent["amount_refunded"] for intent in intents)


def _differences(sale: Sale, outcome: _Outcome, taken: int) -> list[str]:
    found = {
        "the order": outcome.total,
        "the invoice": outcome.invoiced,
        "the invoice, settled,": outcome.settled,
        "the payment": (outcome.captured or 0) - (outcome.refunded or 0),
        "the provider": taken,
        "the ledger's sale": outcome.sold,
        "the ledger's receipt": outcome.received,
    }
    differences = [
        f"{sale.number}: the file has {sale.total}, {book} has {amount or 0}"
        for book, amount in found.items()
        if amount != sale.total
    ]
    lines = {"the order": outcome.lines, "the invoice": outcome.invoiced_lines}
    differences += [
        f"{sale.number}: the file has {len(sale.lines)} lines, {book} has {count or 0}"
        for book, count in lines.items()
        if count != len(sale.lines)
    ]
    if outcome.status != "confirmed":
        why = f" ({outcome.parked_reason})" if outcome.parked_reason else ""
        differences.insert(0, f"{sale.number}: the order is {outcome.status}{why}")
    if outcome.held:
        differences.append(f"{sale.number}: {outcome.held} are still held on the card")
    return differences


def _unknown_here(intents: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
    """Sum what the provider took under references that are no payments of ours.

    Not a replay's doing, whose payments have their reference before the provider hears of them;
    but nothing to keep quiet about.
    """
    ours = {payment_id for (payment_id,) in asked(_OURS)}
    return sum(_taken(found) for reference, found in intents.items() if reference not in ours)
