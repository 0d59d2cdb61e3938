"""The Django application of the context."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Customers, catalogue, stock, carts and orders."""

    name = "orders"
    verbose_name = "Orders"
