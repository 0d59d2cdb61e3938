"""The tables of accounts."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from sagas.models import Aggregate


class BillingAccount(Aggregate):
    """A party that is billed, one per customer; its row is the lock for all its money."""

    customer_id = models.UUIDField(unique=True)
    number = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200, blank=True, default="")
    currency = models.CharField(max_length=3)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"), name="billing_account_currency"
            )
        ]

    def __str__(self) -> str:
        """Return the number and the name."""
        return f"{self.number} {self.name}".rstrip()
