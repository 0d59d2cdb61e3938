"""The operators' screens of billing: the books, received payments, messages; and its folders'."""

from typing import ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join

from billing.accounts import admin as accounts
from billing.coupons import admin as coupons
from billing.invoices import admin as invoices
from billing.models import (
    Inbox,
    JournalEntry,
    JournalLine,
    LedgerAccount,
    Outbox,
    ReceivedPayment,
)
from billing.queries import trial_balance
from sagas.admin.choices import one_of
from sagas.admin.display import (
    code,
    find_url,
    instant,
    link,
    link_to,
    money,
    plain_money,
    when,
)
from sagas.admin.messages import InboxAdmin, OutboxAdmin
from sagas.admin.records import ReadOnlyAdmin, ReadOnlyInline
from sagas.admin.search import as_uuid, findable

__all__ = ["accounts", "coupons", "invoices"]

admin.site.register(Outbox, OutboxAdmin)
admin.site.register(Inbox, InboxAdmin)
findable(Outbox)


@admin.register(ReceivedPayment)
class ReceivedPaymentAdmin(ReadOnlyAdmin):
    """Money that payments said it captured."""

    list_display = ("payment", "amount_text", "applied_text", "order", "captured")
    ordering = ("-payment_id",)
    search_fields = ("=payment_id",)
    search_help_text = "Payment id or order id"
    sortable_by: ClassVar[tuple[str, ...]] = ()
    fields = ("payment", "amount_text", "applied_text", "order", "provider_ref", "captured")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ReceivedPayment], search_term: str
    ) -> tuple[QuerySet[ReceivedPayment], bool]:
        """Find by the id of the payment or the order."""
        if not search_term.strip():
            return queryset, False
        key = as_uuid(search_term.strip())
        if key is None:
            return queryset.none(), False
        return queryset.filter(Q(payment_id=key) | Q(order_id=key)), False

    @admin.display(description="payment")
    def payment(self, row: ReceivedPayment) -> str:
        """Link to the payment, which another context keeps."""
        return code(row.payment_id)

    @admin.display(description="amount")
    def amount_text(self, row: ReceivedPayment) -> str:
        """Show what was captured."""
        return money(row.amount, row.currency)

    @admin.display(description="applied to invoices")
    def applied_text(self, row: ReceivedPayment) -> str:
        """Show how much of it has paid something."""
        return money(row.applied, row.currency)

    @admin.display(description="order")
    def order(self, row: ReceivedPayment) -> str:
        """Link to the order, which another context keeps."""
        return link_to("orders_order", row.order_id)

    @admin.display(description="captured")
    def captured(self, row: ReceivedPayment) -> str:
        """Show when."""
        return when(row.captured_at)


class JournalLines(ReadOnlyInline):
    """The sides of a posting."""

    model = JournalLine
    fields = ("account", "debit", "credit", "party")
    readonly_fields = fields
    ordering = ("-side", "account")

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalLine]:
        """Read the accounts with the lines."""
        return super().get_queryset(request).select_related("account")

    @admin.display(description="debit")
    def debit(self, line: JournalLine) -> str:
        """Show the amount if it stands on this side."""
        return money(line.amount, line.currency) if line.side == "D" else ""

    @admin.display(description="credit")
    def credit(self, line: JournalLine) -> str:
        """Show the amount if it stands on this side."""
        return money(line.amount, line.currency) if line.side == "C" else ""

    @admin.display(description="party")
    def party(self, line: JournalLine) -> str:
        """Link to whom it concerns."""
        return link_to("billing_billingaccount", line.party_id)


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnlyAdmin):
    """Postings; the database refuses any change."""

    inlines = (JournalLines,)
    list_display = ("recorded", "rule", "lines_text", "booked")
    list_filter = (
        one_of("rule", lambda: ("invoice_issued", "payment_captured", "payment_applied")),
    )
    ordering = ("-id",)
    search_fields = ("=rule",)
    search_help_text = "The id of what was booked: an invoice, a payment"
    sortable_by: ClassVar[tuple[str, ...]] = ("recorded",)
    fields = ("rule", "booked", instant("occurred_at"), instant("recorded_at"), "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[JournalEntry]:
        """Read the lines of all listed entries at once."""
        return super().get_queryset(request).prefetch_related("lines")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JournalEntry], search_term: str
    ) -> tuple[QuerySet[JournalEntry], bool]:
        """Find by the id of what was booked."""
        key: UUID | None = as_uuid(search_term.strip())
        if key is None:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(source=key) | Q(id=key)), False

    @admin.display(description="recorded", ordering="id")
    def recorded(self, entry: JournalEntry) -> str:
        """Show when it was written."""
        return when(entry.recorded_at)

    @admin.display(description="booked")
    def booked(self, entry: JournalEntry) -> str:
        """Link to the fact."""
        return link(find_url(entry.source), code(entry.source))

    @admin.display(description="lines")
    def lines_text(self, entry: JournalEntry) -> str:
        """Show the posting in short."""
        lines = sorted(entry.lines.all(), key=lambda line: (line.side != "D", line.account_id))
        return format_html_join(
            ", ",
            "{} {} {}",
            ((line.side, line.account_id, money(line.amount, line.currency)) for line in lines),
        )


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    """The chart of accounts."""

    list_display = ("code", "name")
    ordering = ("code",)
    fields = ("code", "name", "balance")

    def headline(self, request: HttpRequest) -> str:
        """Return whether the books balance."""
        totals: dict[str, int] = {}
        for account in trial_balance():
            totals[account.currency] = totals.get(account.currency, 0) + account.balance
        wrong = [plain_money(total, currency) for currency, total in totals.items() if total]
        return f"The books are out by {', '.join(wrong)}." if wrong else "The books balance."

    @admin.display(description="balance, debits minus credits")
    def balance(self, account: LedgerAccount) -> str:
        """Show the sum of all lines, per currency."""
        sums = [row for row in trial_balance() if row.code == account.code]
        lines = ((money(row.balance, row.currency),) for row in sums)
        return format_html_join("", "<div>{}</div>", lines) if sums else "nothing is booked here"


findable(JournalEntry, about=("source",))
