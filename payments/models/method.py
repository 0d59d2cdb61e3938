"""Payment methods: the provider's tokens; no card number is ever stored."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from sagas.api import uuid7


class PaymentMethod(models.Model):
    """A way to pay that a customer has registered with the provider."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer_id = models.UUIDField()
    token = models.TextField(help_text="The provider's name for the card.")
    brand = models.TextField()
    last4 = models.CharField(max_length=4)
    label = models.TextField(help_text="What the customer calls it.")
    kind = models.TextField(help_text="How the card behaves: good, declined, timeout_after …")
    active = models.BooleanField(default=True, db_default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer_id", "token"], name="payments_paymentmethod_once"
            )
        ]

    def __str__(self) -> str:
        """Return what is printed on receipts."""
        return f"{self.brand} …{self.last4}"
