"""The history: every event a context has ever told, for good.

A context subclasses it in ``<context>/models/messaging.py``. Rows come from the outbox and from
nowhere else, and no row is ever changed or deleted; `sagas.append_only` sees to it.
"""

from typing import ClassVar

from django.db import models


class EventBase(models.Model):
    """Events by stream: the aggregate (``aggregatetype``, ``aggregateid``) and a ``number`` in it.

    Position and number are those of the outbox row, so that whoever moves a row, and however
    often, writes the same one. Positions grow within a stream; rows of different streams may
    arrive in another order than that of their positions.
    """

    position = models.BigIntegerField(primary_key=True)
    id = models.UUIDField(unique=True)
    aggregatetype = models.TextField()
    aggregateid = models.UUIDField()
    number = models.BigIntegerField(help_text="From 1 in each stream, without a gap.")
    type = models.TextField()
    version = models.PositiveIntegerField()
    payload = models.JSONField()
    occurred_at = models.DateTimeField(help_text="When it happened, in business time.")
    recorded_at = models.DateTimeField(help_text="When it was written, by the database's clock.")
    actor = models.TextField(null=True, help_text="Who did it, where that is known.")
    correlation_id = models.TextField()
    causation_id = models.TextField(null=True)
    traceparent = models.TextField(null=True)

    class Meta:
        abstract = True
        verbose_name = "event"
        verbose_name_plural = "history"
        indexes: ClassVar = [
            # An operator reads all that belongs to one click.
            models.Index(fields=["correlation_id"], name="%(app_label)s_%(class)s_click"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["aggregatetype", "aggregateid", "number"],
                name="%(app_label)s_%(class)s_number",
            )
        ]

    def __str__(self) -> str:
        """Return the event's name and number in its stream."""
        return f"{self.type} #{self.number}"
