"""What a context has of its projections: their rows, and how far each of them has come."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class ProjectionRow(models.Model):
    """A row made from events; nothing else writes it."""

    seen = models.JSONField(
        default=dict, help_text="Number of the last event of each stream that is in the row."
    )

    class Meta:
        abstract = True


class TimelineRow(ProjectionRow):
    """An event of any context, so that all that came of one click is read in one place.

    A context with a timeline subclasses it; the operators' pages read the one that is there.
    """

    event_id = models.UUIDField(primary_key=True)
    correlation_id = models.TextField()
    causation_id = models.TextField(null=True)
    at = models.DateTimeField(help_text="When it was written, by the database's clock.")
    context = models.TextField()
    name = models.TextField()
    version = models.PositiveIntegerField()
    aggregate_type = models.TextField()
    aggregate_id = models.UUIDField()
    sequence = models.BigIntegerField()
    actor = models.TextField(null=True)
    sentence = models.TextField(help_text="What it says, in words.")

    class Meta:
        abstract = True
        indexes: ClassVar = [
            models.Index(fields=["correlation_id", "at"], name="%(app_label)s_%(class)s_click"),
        ]

    def __str__(self) -> str:
        """Return the event's name and number in its aggregate."""
        return f"{self.name} #{self.sequence}"


class ProjectionBase(models.Model):
    """One row a projection: when it was built, and how far the building of the next one is.

    A context with projections subclasses it as ``<context>_projection``.
    """

    name = models.TextField(primary_key=True)
    version = models.PositiveIntegerField(
        null=True, help_text="Of the handlers that the table was built with."
    )
    built_at = models.DateTimeField(null=True)
    as_of = models.DateTimeField(
        null=True, help_text="Everything that was told before this is in the table."
    )
    behind = models.BigIntegerField(default=0, db_default=0)
    fencing_token = models.BigIntegerField(
        default=0, db_default=0, help_text="Of the rebuild that may write the shadow."
    )
    read_to = models.JSONField(
        default=dict, help_text="Position in each producer's events up to which the shadow is full."
    )
    rebuilding_since = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    def __str__(self) -> str:
        """Return the name."""
        return self.name
