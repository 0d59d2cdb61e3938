"""Messages that could not be handled, kept with the reason until a person decides."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from sagas.ids import uuid7


class DeadLetter(models.Model):
    """One event that one context cannot handle; later events of its aggregate wait behind it."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    context = models.TextField(help_text="The context that could not handle it.")
    producer = models.TextField()
    event_id = models.UUIDField()
    event_name = models.TextField()
    aggregate_type = models.TextField()
    aggregate_id = models.UUIDField()
    sequence = models.BigIntegerField()
    attempts = models.IntegerField(default=0)
    reason = models.TextField(default="")
    traceback = models.TextField(default="")
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())
    next_at = models.DateTimeField(null=True, help_text="Empty: waits for an operator.")
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sagas_deadletter"
        permissions = (
            ("resend_deadletter", "Can resend dead letters"),
            ("discard_deadletter", "Can discard dead letters"),
        )
        indexes: ClassVar = [
            models.Index(
                fields=["context"],
                condition=models.Q(resolved_at__isnull=True),
                name="sagas_deadletter_open",
            )
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["context", "event_id"], name="sagas_deadletter_once")
        ]

    def __str__(self) -> str:
        """Return the event and the context it is stuck in."""
        return f"{self.event_name} in {self.context}"
