"""From rows to documents: which sales are to be replayed, and what is left out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from config.replay.source import Row, Skipped

CANCELLATION: Final = "C"
PENCE: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class SaleLine:
    """One line of a sale; ``unit_price`` and ``total`` in pence."""

    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sale:
    """An invoice of the file: one order to be."""

    number: str
    customer: str
    business_date: date
    lines: tuple[SaleLine, ...]

    @property
    def total(self) -> int:
        """Return the sum of the lines in pence."""
        return sum(line.total for line in self.lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Documents:
    """What a file holds."""

    sales: tuple[Sale, ...]
    """In the order of the file."""
    cancellation_documents: int
    cancellation_lines: int
    cancellations_minor: int
    skipped: tuple[Skipped, ...]
    """Rows that cannot be read."""
    left_out: dict[str, int]
    """Rows that are no sale to a known customer, counted by reason."""

    @property
    def lines(self) -> int:
        """Return the number of lines of all sales."""
        return sum(len(sale.lines) for sale in self.sales)

    @property
    def total(self) -> int:
        """Return the sum of all sales in pence."""
        return sum(sale.total for sale in self.sales)

    @property
    def customers(self) -> tuple[str, ...]:
        """Return who bought, in the order of their first purchase."""
        return tuple(dict.fromkeys(sale.customer for sale in self.sales))


@dataclass(kw_only=True, slots=True)
class _Draft:
    first: Row
    lines: list[SaleLine] = field(default_factory=list)


def collect(rows: Iterable[Row | Skipped], *, until: date | None = None) -> Documents:
    """Put the rows of each document together.

    :param until: the last day that counts
    """
    drafts: dict[str, _Draft] = {}
    canceled: Counter[str] = Counter()
    canceled_lines = 0
    skipped: list[Skipped] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, Skipped):
            skipped.append(row)
        elif until is not None and row.on > until:
            left_out["after the last day asked for"] += 1
        elif reason := _no_sale(row):
            left_out[reason] += 1
        elif row.document.startswith(CANCELLATION):
            canceled[row.document] += _total(row)
            canceled_lines += 1
        elif _belongs(row, drafts.setdefault(row.document, _Draft(first=row))):
            drafts[row.document].lines.append(_line(row))
        else:
            why = f"document {row.document} belongs to another customer"
            skipped.append(Skipped(line=row.line, why=why))
    sales = [_sale(draft) for draft in drafts.values()]
    skipped += [
        Skipped(line=drafts[sale.number].first.line, why=f"document {sale.number} comes to nothing")
        for sale in sales
        if not sale.total
    ]
    return Documents(
        sales=tuple(sale for sale in sales if sale.total),
        cancellation_documents=len(canceled),
        cancellation_lines=canceled_lines,
        cancellations_minor=sum(canceled.values()),
        skipped=tuple(sorted(skipped, key=lambda one: one.line)),
        left_out=dict(left_out),
    )


def _no_sale(row: Row) -> str:
    if not row.customer:
        return "without a customer"
    if row.document.startswith(CANCELLATION):
        return ""
    if row.quantity <= 0:
        return "without a quantity"
    if row.price <= 0:
        return "without a price"
    return ""


def _belongs(row: Row, draft: _Draft) -> bool:
    return row.customer == draft.first.customer


def _line(row: Row) -> SaleLine:
    return SaleLine(
        sku=row.sku,
        description=row.description,
        quantity=row.quantity,
        unit_price=row.price * PENCE,
        total=_total(row),
    )


def _total(row: Row) -> int:
    return int((row.price * row.quantity * PENCE).quantize(Decimal(1), ROUND_HALF_UP))


def _sale(draft: _Draft) -> Sale:
    return Sale(
        number=draft.first.document,
        customer=draft.first.customer,
        business_date=draft.first.on,
        lines=tuple(draft.lines),
    )
