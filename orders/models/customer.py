"""Who orders."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from sagas.ids import uuid7
from sagas.models import Aggregate


class Customer(Aggregate):
    """A person or company that orders; the other contexts know only the id."""

    # A value, not a foreign key: the sign-in lives in another schema.
    user_id = models.BigIntegerField(null=True, unique=True)
    email = models.EmailField()
    name = models.CharField(max_length=200)
    currency = models.CharField(max_length=3, default="GBP")
    # Null and not empty, since only nulls are never equal.
    reference = models.CharField(max_length=64, null=True, unique=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(Lower("email"), name="orders_customer_email"),
            models.CheckConstraint(
                condition=Q(currency__regex="^[A-Z]{3}$"), name="orders_customer_currency"
            ),
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class ApiToken(models.Model):
    """A secret with which a program acts for a customer; only its digest is kept."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="tokens")
    label = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        """Return the label."""
        return self.label
