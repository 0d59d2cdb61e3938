"""The effects of the benchmark's steps: one narrow table for each context.

The tables are made by `effects.make_tables`, so that no migration of the project knows of them.
"""

from django.db import models
from django.db.models.functions import Now


class Effect(models.Model):
    """One write of one step; a compensation is a second row that takes the amount back."""

    id = models.BigAutoField(primary_key=True)
    saga = models.UUIDField()
    step = models.SmallIntegerField()
    amount = models.SmallIntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    def __str__(self) -> str:
        """Return whose effect it is."""
        return f"{self.saga}:{self.step}:{self.amount:+d}"


class OrdersEffect(Effect):
    """A write of the orders context."""

    class Meta:
        managed = False
        db_table = "bench_orders"


class BillingEffect(Effect):
    """A write of the billing context."""

    class Meta:
        managed = False
        db_table = "bench_billing"


class PaymentsEffect(Effect):
    """A write of the payments context."""

    class Meta:
        managed = False
        db_table = "bench_payments"
