"""The Django application of the context."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Accounts, invoices and the ledger."""

    name = "billing"
    verbose_name = "Billing"
