"""A payment: how much is held, taken and let go for one purpose."""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from payments.models.method import PaymentMethod
from payments.states import LIVE, PaymentStatus
from sagas.models import Aggregate


class Payment(Aggregate):
    """Money asked of a customer for one purpose.

    The amounts are what operations with a recorded answer have moved; each change is one
    conditional UPDATE that names the status it relies on.
    """

    purpose = models.TextField(default="order")
    purpose_id = models.UUIDField()
    customer_id = models.UUIDField(db_index=True)
    method = models.ForeignKey(
        PaymentMethod, on_delete=models.PROTECT, null=True, related_name="payments"
    )
    currency = models.CharField(max_length=3)
    amount = models.BigIntegerField(help_text="Minor units.")
    authorized = models.BigIntegerField(default=0, db_default=0)
    captured = models.BigIntegerField(default=0, db_default=0)
    voided = models.BigIntegerField(default=0, db_default=0)
    refunded = models.BigIntegerField(default=0, db_default=0)
    status = models.TextField(
        choices=PaymentStatus.choices,
        default=PaymentStatus.CREATED,
    )
    live = models.BooleanField(default=True)
    provider_ref = models.TextField(null=True)
    captured_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(
        null=True,
        help_text="When the provider confirmed that nothing can happen on its intent any more.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["purpose", "purpose_id"],
                condition=Q(live=True),
                name="payments_payment_one_live",
            ),
            models.UniqueConstraint(
                fields=["provider_ref"],
                condition=Q(provider_ref__isnull=False),
                name="payments_payment_provider_ref",
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payments_payment_amount"),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="payments_payment_currency"
            ),
            models.CheckConstraint(
                condition=Q(authorized__gte=0, authorized__lte=F("amount")),
                name="payments_payment_authorized",
            ),
            models.CheckConstraint(
                condition=Q(
                    captured__gte=0, voided__gte=0, authorized__gte=F("captured") + F("voided")
                ),
                name="payments_payment_captured",
            ),
            models.CheckConstraint(
                condition=Q(refunded__gte=0, refunded__lte=F("captured")),
                name="payments_payment_refunded",
            ),
            models.CheckConstraint(
                condition=Q(live=True, status__in=LIVE)
                | Q(live=False, status__in=(PaymentStatus.FAILED, PaymentStatus.VOIDED)),
                name="payments_payment_live",
            ),
            models.CheckConstraint(
                condition=Q(status=PaymentStatus.CREATED, authorized=0)
                | Q(status=PaymentStatus.FAILED, authorized=0)
                | Q(
                    status=PaymentStatus.AUTHORIZED,
                    authorized__gt=0,
                    captured=0,
                    voided=0,
                )
                | Q(status=PaymentStatus.CAPTURED, captured__gt=0, captured_at__isnull=False)
                | Q(status=PaymentStatus.VOIDED, voided__gt=0, voided=F("authorized")),
                name="payments_payment_status",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["purpose", "purpose_id"], name="payments_payment_purpose")
        ]

    def __str__(self) -> str:
        """Return the purpose and the status."""
        return f"{self.purpose} {self.purpose_id}: {self.status}"
