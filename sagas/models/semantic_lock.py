"""Semantic locks: which saga has an aggregate in hand, for everybody who meets it."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class SemanticLock(models.Model):
    """One aggregate that belongs to one saga until it ends."""

    id = models.BigAutoField(primary_key=True)
    target_type = models.TextField()
    target_id = models.UUIDField()
    saga_id = models.UUIDField(db_index=True)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "sagas_lock"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["target_type", "target_id"], name="sagas_lock_once")
        ]

    def __str__(self) -> str:
        """Return what is locked."""
        return f"{self.target_type}/{self.target_id}"
