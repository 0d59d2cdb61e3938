"""The tables of the context, one subject a file."""

from billing.accounts.models import BillingAccount
from billing.coupons.models import Coupon
from billing.invoices.models import (
    Invoice,
    InvoiceLine,
    InvoiceSettlement,
    NumberSeries,
    ReceivedPayment,
)
from billing.models.ledger import JournalEntry, JournalLine, LedgerAccount
from billing.models.messaging import (
    Barrier,
    Event,
    Idempotency,
    Inbox,
    Outbox,
    Position,
    StreamDue,
    StreamLease,
)

__all__ = [
    "Barrier",
    "BillingAccount",
    "Coupon",
    "Event",
    "Idempotency",
    "Inbox",
    "Invoice",
    "InvoiceLine",
    "InvoiceSettlement",
    "JournalEntry",
    "JournalLine",
    "LedgerAccount",
    "NumberSeries",
    "Outbox",
    "Position",
    "ReceivedPayment",
    "StreamDue",
    "StreamLease",
]
