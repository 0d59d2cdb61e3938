"""What share of the starts a new version of a definition takes."""

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q


class Rollout(models.Model):
    """The share of one version; the rest runs the version before it."""

    id = models.BigAutoField(primary_key=True)
    name = models.TextField()
    version = models.PositiveIntegerField()
    percent = models.SmallIntegerField(
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="Of the starts, by business key; 0 sends all to the version before it."
        " What has begun is not touched.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "version"], name="sagas_rollout_once"),
            models.CheckConstraint(
                condition=Q(percent__gte=0, percent__lte=100), name="sagas_rollout_percent"
            ),
        ]

    def __str__(self) -> str:
        """Return the version and its share."""
        return f"{self.name} version {self.version}: {self.percent} %"
