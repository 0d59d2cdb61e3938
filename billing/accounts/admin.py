"""The operators' screen of accounts."""

from typing import ClassVar

from django.contrib import admin

from billing.accounts.models import BillingAccount
from sagas.admin.display import instant, link, link_to, list_of
from sagas.admin.records import ReadOnlyAdmin
from sagas.admin.search import findable


@admin.register(BillingAccount)
class BillingAccountAdmin(ReadOnlyAdmin):
    """Parties that are billed."""

    list_display = ("number", "name", "currency", "customer")
    ordering = ("-id",)
    search_fields = ("=number", "name")
    search_help_text = "Account number or part of the name"
    sortable_by: ClassVar[tuple[str, ...]] = ("number", "name")
    fields = ("number", "name", "currency", "customer", "invoices", instant("created_at"), "id")

    @admin.display(description="customer")
    def customer(self, account: BillingAccount) -> str:
        """Link to the customer, whom another context keeps."""
        return link_to("orders_customer", account.customer_id)

    @admin.display(description="see also")
    def invoices(self, account: BillingAccount) -> str:
        """Link to the account's invoices."""
        return link(list_of("billing_invoice", f"q={account.customer_id}"), "invoices")


findable(BillingAccount, texts=("number",), about=("customer_id",))
