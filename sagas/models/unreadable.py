"""Messages that no worker could read, kept as they came until a person has looked."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7


class UnreadableMessage(models.Model):
    """One message, and how often one like it came; written by ``sagas.unreadable``."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    digest = models.BinaryField(help_text="Of queue, reason and body; equal ones are one row.")
    queue = models.TextField(help_text="Where it was taken from.")
    reason = models.TextField()
    content_type = models.TextField()
    content_encoding = models.TextField()
    headers = models.TextField(help_text="As JSON, the beginning of it.")
    body = models.BinaryField(help_text="The beginning of it, as it came.")
    size = models.BigIntegerField(help_text="Of the whole body, in bytes.")
    times = models.BigIntegerField(default=1, db_default=1)
    received_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())
    discarded_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sagas_unreadable"
        verbose_name = "unreadable message"
        permissions = (("discard_unreadable", "Can discard unreadable messages"),)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["digest"],
                condition=Q(discarded_at__isnull=True),
                name="sagas_unreadable_once",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["discarded_at"],
                condition=Q(discarded_at__isnull=False),
                name="sagas_unreadable_seen",
            )
        ]

    def __str__(self) -> str:
        """Return where it came from and why it could not be read."""
        return f"{self.queue}: {self.reason}"
