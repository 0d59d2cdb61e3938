"""The provider's tables.

Rows are read and moved by plain SQL in the modules beside this one; the classes are here for the
migrations and for the constraints, which guard the money even where the SQL should be wrong.
"""

from django.db import models
from django.db.models import F, Q


class Intent(models.Model):
    """One purchase: prepared, then authorized, then captured or canceled for good."""

    position = models.BigAutoField(primary_key=True)
    ref = models.CharField(max_length=64)
    status = models.CharField(max_length=16)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    amount_authorized = models.BigIntegerField(db_default=0)
    amount_captured = models.BigIntegerField(db_default=0)
    amount_refunded = models.BigIntegerField(db_default=0)
    payment_method = models.CharField(max_length=64)
    reference = models.CharField(max_length=200)
    metadata = models.JSONField()
    last_error = models.CharField(max_length=64, null=True)
    created_at = models.DateTimeField()

    class Meta:
        app_label = "simulator"
        indexes = (models.Index(name="intent_reference", fields=["reference", "position"]),)
        constraints = (
            # Constraints and not unique=True, which adds a second index for LIKE.
            models.UniqueConstraint(name="intent_ref_once", fields=["ref"]),
            models.CheckConstraint(name="intent_amount_positive", condition=Q(amount__gt=0)),
            models.CheckConstraint(
                name="intent_money_in_order",
                condition=Q(
                    amount_refunded__gte=0,
                    amount_captured__gte=F("amount_refunded"),
                    amount_authorized__gte=F("amount_captured"),
                    amount__gte=F("amount_authorized"),
                ),
            ),
            models.CheckConstraint(
                name="intent_status_tells_the_money",
                condition=Q(status="prepared", amount_authorized=0)
                | Q(status="authorized", amount_authorized__gt=0, amount_captured=0)
                | Q(status="captured", amount_captured__gt=0)
                | Q(status="canceled", amount_captured=0),
            ),
        )

    def __str__(self) -> str:
        return f"{self.ref} {self.status}"


class Refund(models.Model):
    """Money given back out of a captured intent."""

    ref = models.CharField(max_length=64, unique=True)
    intent = models.ForeignKey(Intent, on_delete=models.PROTECT, to_field="ref")
    amount = models.BigIntegerField()
    reference = models.CharField(max_length=200)
    metadata = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        app_label = "simulator"
        indexes = (models.Index(name="refund_reference", fields=["reference"]),)
        constraints = (
            models.CheckConstraint(name="refund_amount_positive", condition=Q(amount__gt=0)),
        )

    def __str__(self) -> str:
        return self.ref


class StoredAnswer(models.Model):
    """The first answer given under an idempotency key, replayed for a day."""

    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    body = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        app_label = "simulator"
        constraints = (models.UniqueConstraint(name="answer_key_once", fields=["key"]),)

    def __str__(self) -> str:
        return self.key


class Fault(models.Model):
    """A misfortune that waits for the calls it is meant for."""

    operation = models.CharField(max_length=16)
    action = models.CharField(max_length=16)
    reference = models.CharField(max_length=200, null=True)
    key = models.CharField(max_length=255, null=True)
    remaining = models.IntegerField(null=True)
    seconds = models.FloatField(null=True)
    code = models.CharField(max_length=64, null=True)

    class Meta:
        app_label = "simulator"
        constraints = (
            models.CheckConstraint(name="fault_remaining_positive", condition=Q(remaining__gt=0)),
        )

    def __str__(self) -> str:
        return f"{self.action} on {self.operation}"


class Call(models.Model):
    """One request as it came over the wire, and whether it moved anything."""

    received_at = models.DateTimeField()
    operation = models.CharField(max_length=16)
    key = models.CharField(max_length=255)
    intent = models.CharField(max_length=64)
    reference = models.CharField(max_length=200)
    correlation_id = models.CharField(max_length=64)
    traceparent = models.CharField(max_length=64, db_default="")
    fault = models.CharField(max_length=16)
    status = models.SmallIntegerField(null=True)
    code = models.CharField(max_length=64)
    executed = models.BooleanField()
    replayed = models.BooleanField()

    class Meta:
        app_label = "simulator"
        indexes = (models.Index(name="call_reference", fields=["reference"]),)

    def __str__(self) -> str:
        return f"{self.operation} {self.reference}"


class Delivery(models.Model):
    """An event to be sent to the webhook, until it is accepted."""

    event_ref = models.CharField(max_length=64, unique=True)
    type = models.CharField(max_length=32)
    body = models.TextField()
    created_at = models.DateTimeField()
    attempts = models.IntegerField(db_default=0)
    due_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    last_answer = models.CharField(max_length=200, db_default="")

    class Meta:
        app_label = "simulator"
        indexes = (
            models.Index(name="delivery_due", fields=["due_at"], condition=Q(due_at__isnull=False)),
        )

    def __str__(self) -> str:
        return self.event_ref
