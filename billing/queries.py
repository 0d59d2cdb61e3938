"""Reads of this context; whatever a customer may see is looked up together with the customer."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, QuerySet, Sum

from billing.models import Invoice, InvoiceLine, JournalLine


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceLineView:
    """One line of an invoice."""

    position: int
    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    line_total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceView:
    """An invoice as its customer sees it."""

    id: UUID
    number: str
    order_id: UUID
    order_number: str
    customer_name: str
    currency: str
    total: int
    settled: int
    status: str
    issued_at: datetime
    business_date: date
    lines: tuple[InvoiceLineView, ...] = ()
    """Only filled when one invoice is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountBalance:
    """What stands on an account of the ledger; debits minus credits."""

    code: str
    name: str
    currency: str
    balance: int


class UnknownInvoice(Exception):
    """The customer has no such invoice."""


def invoices_of(
    customer_id: UUID, *, limit: int = 50, offset: int = 0, after: UUID | None = None
) -> list[InvoiceView]:
    """Return a customer's invoices, the newest first.

    :param after: the last invoice of the page before
    :raises UnknownInvoice: if the customer has no such invoice
    """
    rows = _of(customer_id).order_by("-issued_at", "-id")
    if after is not None:
        rows = rows.filter(_older_than(customer_id, after))
    return [_view(invoice) for invoice in rows[offset : offset + limit]]


def _older_than(customer_id: UUID, invoice_id: UUID) -> Q:
    issued_at = _of(customer_id).filter(id=invoice_id).values_list("issued_at", flat=True).first()
    if issued_at is None:
        raise UnknownInvoice
    return Q(issued_at__lt=issued_at) | Q(issued_at=issued_at, id__lt=invoice_id)


def invoice_of(customer_id: UUID, invoice_id: UUID) -> InvoiceView | None:
    """Return one of a customer's invoices with its lines, or None if they have no such."""
    return _with_lines(_of(customer_id).filter(id=invoice_id).first())


def invoice_for_order(customer_id: UUID, order_id: UUID) -> InvoiceView | None:
    """Return the invoice of a customer's order with its lines, or None while there is none."""
    return _with_lines(_of(customer_id).filter(order_id=order_id).first())


def trial_balance() -> list[AccountBalance]:
    """Return the balance of every account and currency; they sum to zero per currency."""
    rows = (
        JournalLine.objects.values("account_id", "account__name", "currency", "side")
        .annotate(sum=Sum("amount"))
        .order_by("account_id", "currency", "side")
    )
    balances: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row["account_id"], row["account__name"], row["currency"])
        sign = 1 if row["side"] == "D" else -1
        balances[key] = balances.get(key, 0) + sign * int(row["sum"])
    return [
        AccountBalance(code=code, name=name, currency=currency, balance=balance)
        for (code, name, currency), balance in balances.items()
    ]


def balances_at(account_id: UUID, instant: datetime | None = None) -> dict[str, int]:
    """Return debits less credits of one party, by account of the books and currency.

    :param instant: count what had happened by then; by default all of it
    """
    lines = JournalLine.objects.filter(party_id=account_id)
    if instant is not None:
        lines = lines.filter(entry__occurred_at__lte=instant)
    balances: dict[str, int] = {}
    summed = lines.values("account_id", "currency", "side").annotate(sum=Sum("amount"))
    for row in summed.order_by("account_id", "currency", "side"):
        key = f"{row['account_id']} {row['currency']}"
        sign = 1 if row["side"] == "D" else -1
        balances[key] = balances.get(key, 0) + sign * int(row["sum"])
    return balances


def _of(customer_id: UUID) -> QuerySet[Invoice]:
    return Invoice.objects.filter(customer_id=customer_id)


def _with_lines(invoice: Invoice | None) -> InvoiceView | None:
    if invoice is None:
        return None
    lines = InvoiceLine.objects.filter(invoice=invoice).order_by("position")
    return _view(invoice, tuple(_line(line) for line in lines))


def _view(invoice: Invoice, lines: tuple[InvoiceLineView, ...] = ()) -> InvoiceView:
    return InvoiceView(
        id=invoice.id,
        number=invoice.label,
        order_id=invoice.order_id,
        order_number=invoice.order_number,
        customer_name=invoice.customer_name,
        currency=invoice.currency,
        total=invoice.total,
        settled=invoice.settled,
        status=invoice.status,
        issued_at=invoice.issued_at,
        business_date=invoice.business_date,
        lines=lines,
    )


def _line(line: InvoiceLine) -> InvoiceLineView:
    return InvoiceLineView(
        position=line.position,
        sku=line.sku,
        description=line.description,
        quantity=line.quantity,
        unit_price=line.unit_price,
        line_total=line.line_total,
    )
