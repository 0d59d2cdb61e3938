"""The Django application of the context."""

from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """Payment methods, payments and their operations."""

    name = "payments"
    verbose_name = "Payments"
