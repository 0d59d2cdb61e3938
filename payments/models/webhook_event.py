"""What the provider told by itself, kept as it came."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.api import uuid7


class WebhookState(models.TextChoices):
    """What became of an event."""

    RECORDED = "recorded"
    """It belongs to a payment of ours."""
    PARKED = "parked"
    """It names nothing of ours, and waits for a person or a reconciliation."""
    IGNORED = "ignored"
    """It is of a type that is not read here."""


class WebhookEvent(models.Model):
    """One event of the provider, however often it was sent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    provider = models.TextField()
    event_ref = models.TextField(help_text="The provider's name of the event.")
    type = models.TextField()
    provider_ref = models.TextField(blank=True, default="")
    payment_id = models.UUIDField(null=True)
    body = models.BinaryField()
    received_at = models.DateTimeField(db_default=Now())
    state = models.TextField(choices=WebhookState.choices)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "event_ref"], name="payments_webhookevent_once"
            ),
            models.CheckConstraint(
                condition=Q(state=WebhookState.RECORDED, payment_id__isnull=False)
                | Q(state__in=(WebhookState.PARKED, WebhookState.IGNORED)),
                name="payments_webhookevent_state",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["payment_id"], name="payments_webhookevent_payment"),
            models.Index(
                fields=["received_at"],
                condition=Q(state=WebhookState.PARKED),
                name="payments_webhookevent_parked",
            ),
        ]

    def __str__(self) -> str:
        """Return the type and the provider's name of the event."""
        return f"{self.type} {self.event_ref}"
