"""Since when a context listens to another, and how far it has come with what was told before."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Consumer(models.Model):
    """A context that listens to a producer: where it began, which stands for ever."""

    consumer = models.TextField()
    producer = models.TextField()
    start = models.TextField(help_text="first or now: what it said when it began.")
    border = models.BigIntegerField(
        help_text="Last position in the producer's events that was handed out before it began."
    )
    names = models.JSONField(default=list, help_text="Events it listens to.")
    said = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="When a release that runs has last said of an event that it listens to it.",
    )
    read_to = models.BigIntegerField(
        default=0, db_default=0, help_text="It has applied what was told up to this position."
    )
    begun_at = models.DateTimeField(db_default=Now())
    listens_since = models.DateTimeField(
        db_default=Now(), help_text="When it began to listen to the last of them."
    )
    caught_up_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["consumer", "producer"], name="sagas_consumer_begins_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["id"],
                condition=models.Q(caught_up_at__isnull=True),
                name="sagas_consumer_behind",
            )
        ]

    def __str__(self) -> str:
        """Return who listens to whom."""
        return f"{self.consumer} listens to {self.producer} from {self.start}"
