"""The journal: what each step of each saga did, and every attempt that went wrong."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from sagas.ids import uuid7


class RunState(models.TextChoices):
    """What is known of one step in one direction."""

    PENDING = "pending"  # a branch of a group that is still to be done; in the journal only
    INTENDED = "intended"  # committed that a remote call may be under way
    DONE = "done"
    REJECTED = "rejected"
    CANCELED = "canceled"  # never ran, and never may
    NOTHING = "nothing"  # a compensation that found nothing to undo
    SKIPPED = "skipped"  # its condition was false, or an operator skipped it


class StepRun(models.Model):
    """One step of one saga in one direction: a row for ever, written in the step's own commit.

    The row of a branch is written when its group begins: it is what is claimed, so it has a
    lease, a token, attempts and a due time of its own.
    """

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    step_no = models.SmallIntegerField()
    name = models.TextField()
    context = models.TextField()
    direction = models.TextField()
    state = models.TextField(choices=RunState.choices)
    effect_key = models.TextField()
    attempts = models.IntegerField(default=1)
    reply = models.JSONField(null=True)
    detail = models.JSONField(null=True, help_text="What its last heartbeat said.")
    worker = models.TextField(default="")
    task_id = models.TextField(default="")
    started_at = models.DateTimeField(null=True)
    committed_at = models.DateTimeField(db_default=Now())
    fencing_token = models.BigIntegerField(default=0)
    leased_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    hints = models.IntegerField(default=0, db_default=0)

    class Meta:
        db_table = "sagas_steprun"
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], condition=models.Q(due_at__isnull=False), name="sagas_run_due"
            )
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["saga_id", "step_no", "direction"], name="sagas_run_once"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=RunState.values), name="sagas_run_state"
            ),
            # No open branch can be invisible to the sweeper.
            models.CheckConstraint(
                condition=~models.Q(state=RunState.PENDING) | models.Q(due_at__isnull=False),
                name="sagas_run_seen",
            ),
        ]

    def __str__(self) -> str:
        """Return the effect key."""
        return self.effect_key


class StepFault(models.Model):
    """One attempt that did not end well, with its traceback; append-only.

    Of the kind ``postponed`` are those that do not count. While nothing else happens to the step
    they are one row, whose ``times``, ``at`` and ``next_at`` move on; the database refuses any
    other change.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    saga_id = models.UUIDField(db_index=True)
    step_no = models.SmallIntegerField()
    name = models.TextField()
    direction = models.TextField()
    attempt = models.IntegerField()
    kind = models.TextField(help_text="fault, unknown, rejected or postponed")
    error = models.TextField()
    traceback = models.TextField(default="")
    worker = models.TextField(default="")
    task_id = models.TextField(default="")
    at = models.DateTimeField(db_default=Now())
    next_at = models.DateTimeField(null=True)
    times = models.IntegerField(default=1, db_default=1)
    first_at = models.DateTimeField(null=True, help_text="Of several, when the first was.")

    class Meta:
        db_table = "sagas_stepfault"

    def __str__(self) -> str:
        """Return what went wrong."""
        return f"{self.name}: {self.error}"
