"""What operators did, and why; append-only."""

from django.db import models
from django.db.models.functions import Now

from sagas.ids import uuid7


class OperatorAction(models.Model):
    """One act of an operator, written in the transaction that carries it out."""

    id = models.UUIDField(primary_key=True, default=uuid7)
    action = models.TextField()
    target_type = models.TextField()
    target_id = models.TextField(db_index=True)
    by = models.TextField()
    reason = models.TextField()
    outcome = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "sagas_operatoraction"

    def __str__(self) -> str:
        """Return who did what."""
        return f"{self.by}: {self.action} {self.target_id}"
