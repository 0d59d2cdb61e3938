"""The front door: what other contexts may name."""

from billing.commands import InvoiceLineInput, IssuedInvoice, IssueInvoice
from billing.queries import (
    AccountBalance,
    InvoiceLineView,
    InvoiceView,
    UnknownInvoice,
    invoice_for_order,
    invoice_of,
    invoices_of,
    trial_balance,
)
from billing.urls import invoice_pages

__all__ = [
    "AccountBalance",
    "InvoiceLineInput",
    "InvoiceLineView",
    "InvoiceView",
    "IssueInvoice",
    "IssuedInvoice",
    "UnknownInvoice",
    "invoice_for_order",
    "invoice_of",
    "invoice_pages",
    "invoices_of",
    "trial_balance",
]
