"""The log of calls that can move money, each committed before the call is made."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from payments.models.payment import Payment
from payments.states import UNRESOLVED, OperationStatus
from sagas.api import uuid7


class OperationKind(models.TextChoices):
    """What the provider is asked to do."""

    PREPARE = "prepare"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"


class PaymentOperation(models.Model):
    """One effect asked of the provider, however often the call was repeated.

    A row whose answer is recorded never changes again; a trigger holds to it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="operations")
    kind = models.TextField(choices=OperationKind.choices)
    amount = models.BigIntegerField()
    effect_key = models.TextField(help_text="The engine's name of the effect.")
    negatives = models.IntegerField(
        default=0, db_default=0, help_text="Definite refusals; each makes a new key."
    )
    idempotency_key = models.TextField(help_text="The key sent to the provider.")
    status = models.TextField(
        choices=OperationStatus.choices,
        default=OperationStatus.SENT,
    )
    decline_code = models.TextField(blank=True, default="")
    sent_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True)
    inquiries = models.IntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["effect_key"], name="payments_operation_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payments_operation_amount"),
            models.CheckConstraint(
                condition=Q(status__in=UNRESOLVED, resolved_at__isnull=True)
                | Q(status=OperationStatus.SUCCEEDED, resolved_at__isnull=False)
                | Q(status=OperationStatus.DECLINED, resolved_at__isnull=False, negatives__gte=1),
                name="payments_operation_status",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["sent_at"],
                condition=Q(resolved_at__isnull=True),
                name="payments_operation_open",
            )
        ]

    def __str__(self) -> str:
        """Return the kind and the status."""
        return f"{self.kind}: {self.status}"
