"""How far the business clock has been moved; one row at most."""

from datetime import timedelta

from django.db import models


class ClockOffset(models.Model):
    """The offset that ``sagas.now()`` in SQL and ``clock.now()`` in Python add to the real time."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    ahead = models.DurationField(default=timedelta(0))

    class Meta:
        db_table = "sagas_clock"
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="sagas_clock_one"),)

    def __str__(self) -> str:
        """Return the offset."""
        return f"+{self.ahead}"
