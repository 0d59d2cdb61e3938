"""What a saga may ask this context to do."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from sagas.api import Command


@dataclass(frozen=True, kw_only=True, slots=True)
class InvoiceLineInput:
    """One line to be invoiced; copied, so that the invoice never depends on the order again."""

    position: int
    sku: str
    description: str
    quantity: int
    unit_price: Decimal
    line_total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IssuedInvoice:
    """The invoice that an order got."""

    invoice_id: UUID
    number: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IssueInvoice(Command[IssuedInvoice]):
    """Write the one invoice of an order and book it."""

    name: ClassVar[str] = "billing.IssueInvoice"

    order_id: UUID
    order_number: str
    customer_id: UUID
    customer_name: str
    currency: str
    total: int
    business_date: date
    lines: tuple[InvoiceLineInput, ...]
