"""Who publishes events to the outside at this moment, and how that went."""

from django.db import models
from django.db.models.functions import Now


class OutsideLease(models.Model):
    """The one row that says who is at it: two would send everything twice."""

    id = models.SmallIntegerField(primary_key=True)
    leased_until = models.DateTimeField(help_text="Or, after a failure, not to be tried before.")
    failures = models.IntegerField(default=0, db_default=0, help_text="In a row.")
    error = models.TextField(default="", db_default="")
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        """Return how it went."""
        return self.error or "well"
