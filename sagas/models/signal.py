"""Signals: what the world has said to a saga, kept whether or not it waits for it yet."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from sagas.ids import uuid7


class Signal(models.Model):
    """One message to one saga; its key makes two that are one recognizable."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    saga_id = models.UUIDField()
    name = models.TextField()
    key = models.TextField()
    payload = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    consumed_at = models.DateTimeField(null=True)
    consumed_step = models.SmallIntegerField(null=True)

    class Meta:
        db_table = "sagas_signal"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["saga_id", "name", "key"], name="sagas_signal_once"),
            models.CheckConstraint(
                condition=models.Q(consumed_at__isnull=True, consumed_step__isnull=True)
                | models.Q(consumed_at__isnull=False, consumed_step__isnull=False),
                name="sagas_signal_consumed",
            ),
        ]

    def __str__(self) -> str:
        """Return the signal's name and key."""
        return f"{self.name} {self.key}"
