"""The operators' screen of invoices."""

import re
from typing import ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from billing.invoices.models import Invoice, InvoiceLine, InvoiceSettlement
from billing.states import InvoiceStatus
from sagas.admin.choices import one_of
from sagas.admin.display import chip, find_url, instant, link, link_to, list_of, money, when
from sagas.admin.records import ReadOnlyAdmin, ReadOnlyInline
from sagas.admin.search import as_uuid, findable

_LABEL = re.compile(r"^(.+)-(\d{1,18})$")


def by_label(text: str) -> Q | None:
    """Return the condition for an invoice by its printed number."""
    match = _LABEL.match(text)
    return Q(series=match.group(1), number=int(match.group(2))) if match else None


class InvoiceLines(ReadOnlyInline):
    """What is invoiced."""

    model = InvoiceLine
    fields = ("position", "sku", "description", "quantity", "unit_price", "total")
    readonly_fields = ("total",)
    ordering = ("position",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        """Read the invoice with its lines, for the currency."""
        return super().get_queryset(request).select_related("invoice")

    @admin.display(description="line total")
    def total(self, line: InvoiceLine) -> str:
        """Show the amount."""
        return money(line.line_total, line.invoice.currency)


class Settlements(ReadOnlyInline):
    """What paid it."""

    model = InvoiceSettlement
    fields = ("source", "paid_by", "paid", "at")
    readonly_fields = fields
    ordering = ("created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceSettlement]:
        """Read the invoice with its settlements, for the currency."""
        return super().get_queryset(request).select_related("invoice")

    @admin.display(description="by")
    def paid_by(self, row: InvoiceSettlement) -> str:
        """Link to the money."""
        return link(find_url(row.source_id), row.source_id)

    @admin.display(description="amount")
    def paid(self, row: InvoiceSettlement) -> str:
        """Show the amount."""
        return money(row.amount, row.invoice.currency)

    @admin.display(description="at")
    def at(self, row: InvoiceSettlement) -> str:
        """Show when."""
        return when(row.created_at)


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    """Invoices; none is ever changed."""

    inlines = (InvoiceLines, Settlements)
    list_display = ("printed", "standing", "amount", "paid", "customer_name", "order", "issued")
    list_filter = (one_of("status", lambda: InvoiceStatus),)
    ordering = ("-id",)
    search_fields = ("=order_number",)
    search_help_text = "Invoice or order number, or any id of an invoice, order or customer"
    sortable_by: ClassVar[tuple[str, ...]] = ("issued",)
    fields = (
        "printed",
        "standing",
        "amount",
        "paid",
        "customer_name",
        "order",
        "account_link",
        "business_date",
        instant("issued_at"),
        "booked",
        "id",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Invoice], search_term: str
    ) -> tuple[QuerySet[Invoice], bool]:
        """Find by a printed number, else by an id."""
        term = search_term.strip()
        key = as_uuid(term)
        if key is not None:
            wanted = Q(id=key) | Q(order_id=key) | Q(customer_id=key)
            return queryset.filter(wanted), False
        label = by_label(term)
        if label is not None:
            return queryset.filter(label), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="number", ordering="number")
    def printed(self, invoice: Invoice) -> str:
        """Show the number as it is printed."""
        return invoice.label

    @admin.display(description="status", ordering="status")
    def standing(self, invoice: Invoice) -> str:
        """Show the chip."""
        return chip(invoice.status)

    @admin.display(description="total", ordering="total")
    def amount(self, invoice: Invoice) -> str:
        """Show what is owed."""
        return money(invoice.total, invoice.currency)

    @admin.display(description="settled")
    def paid(self, invoice: Invoice) -> str:
        """Show what is paid of it."""
        return money(invoice.settled, invoice.currency)

    @admin.display(description="order")
    def order(self, invoice: Invoice) -> str:
        """Link to the order, which another context keeps."""
        return link_to("orders_order", invoice.order_id, invoice.order_number)

    @admin.display(description="account")
    def account_link(self, invoice: Invoice) -> str:
        """Link to the account."""
        return link_to("billing_billingaccount", invoice.account_id, "account")

    @admin.display(description="issued", ordering="id")
    def issued(self, invoice: Invoice) -> str:
        """Show when."""
        return when(invoice.issued_at)

    @admin.display(description="booked as")
    def booked(self, invoice: Invoice) -> str:
        """Link to the entries of the ledger."""
        return link(list_of("billing_journalentry", f"q={invoice.id}"), "entries")


findable(Invoice, about=("order_id", "customer_id"), parse=by_label)
