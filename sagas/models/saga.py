"""The saga row: the one truth about where a saga stands."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7


class Status(models.TextChoices):
    """Where a saga stands; parked is not a status but a stop in one of the first two."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


UNFINISHED = (Status.RUNNING, Status.COMPENSATING)


class SagaInstance(models.Model):
    """One saga under way or ended.

    Nothing but ``sagas.orchestration.store`` writes to it: every change is one statement that
    names the status, the cursor or the fencing token it believes in.
    """

    id = models.UUIDField(primary_key=True, default=uuid7)
    name = models.TextField()
    def_version = models.PositiveIntegerField()
    fingerprint = models.TextField(
        default="", db_default="", help_text="Of the definition it began with."
    )
    key = models.TextField(help_text="Business key: a second start with it returns this saga.")
    run = models.IntegerField(
        default=1, db_default=1, help_text="2 and more where the key is #-numbered by the engine."
    )
    subject_id = models.UUIDField(null=True)
    status = models.TextField(choices=Status.choices, default=Status.RUNNING)
    past_return = models.BooleanField(default=False)
    cursor = models.SmallIntegerField(default=0)
    context = models.TextField(
        default="", db_default="", help_text="Who carries out the step under the cursor."
    )
    last_step = models.SmallIntegerField()
    state = models.JSONField()
    failure = models.TextField(null=True, help_text="Why compensation began.")
    failed_step = models.TextField(null=True)
    canceled_by = models.TextField(null=True)

    fencing_token = models.BigIntegerField(default=0)
    attempts = models.IntegerField(default=0)
    leased_until = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    hints = models.IntegerField(default=0)
    pending = models.IntegerField(default=0, help_text="Branches of a group still to finish.")
    parked_at = models.DateTimeField(null=True)
    parked_reason = models.TextField(null=True)
    deadline_at = models.DateTimeField()
    step_deadline_at = models.DateTimeField(
        null=True, help_text="Business time until which it may stand at the step under its cursor."
    )
    waiting_for = models.TextField(
        null=True, help_text="What it sleeps for: signal:, timer:, child: or lock: and a name."
    )
    wait_until = models.DateTimeField(null=True, help_text="Business time at which a wait ends.")

    parent_id = models.UUIDField(null=True)
    parent_step = models.SmallIntegerField(null=True)
    correlation_id = models.TextField()
    causation_id = models.TextField(null=True)
    traceparent = models.TextField(null=True)
    started_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sagas_saga"
        verbose_name = "saga"
        permissions = (
            ("resume_saga", "Can resume parked sagas"),
            ("compensate_saga", "Can start the compensation of a saga"),
            ("skip_saga", "Can settle a step of a parked saga by hand"),
        )
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="sagas_saga_due"
            ),
            models.Index(fields=["subject_id"], name="sagas_saga_subject"),
            models.Index(
                fields=["parked_at"], condition=Q(parked_at__isnull=False), name="sagas_saga_parked"
            ),
            models.Index(
                fields=["started_at"],
                condition=Q(finished_at__isnull=True),
                name="sagas_saga_unfinished",
            ),
            # Written once in the life of a saga; finds those that ended lately.
            models.Index(
                fields=["finished_at"],
                condition=Q(finished_at__isnull=False),
                name="sagas_saga_ended",
            ),
            models.Index(fields=["correlation_id"], name="sagas_saga_correlation"),
            models.Index(
                fields=["parent_id"], condition=Q(parent_id__isnull=False), name="sagas_saga_parent"
            ),
            models.Index(
                fields=["waiting_for"],
                condition=Q(waiting_for__isnull=False),
                name="sagas_saga_waiting",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "key"], name="sagas_saga_once"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="sagas_saga_status"),
            # No saga can be invisible to the sweeper.
            models.CheckConstraint(
                condition=Q(finished_at__isnull=False)
                | Q(parked_at__isnull=False)
                | Q(due_at__isnull=False),
                name="sagas_saga_seen",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True, status__in=UNFINISHED)
                | Q(
                    finished_at__isnull=False,
                    status__in=(Status.COMPLETED, Status.COMPENSATED),
                    due_at__isnull=True,
                    parked_at__isnull=True,
                ),
                name="sagas_saga_finished",
            ),
            models.CheckConstraint(
                condition=Q(parked_at__isnull=True, parked_reason__isnull=True)
                | Q(
                    parked_at__isnull=False, parked_reason__isnull=False, leased_until__isnull=True
                ),
                name="sagas_saga_parked_why",
            ),
            # Past the point of no return there is no compensation, whoever asks.
            models.CheckConstraint(
                condition=Q(past_return=False) | Q(status__in=(Status.RUNNING, Status.COMPLETED)),
                name="sagas_saga_no_return",
            ),
            # What has ended waits for nothing.
            models.CheckConstraint(
                condition=Q(waiting_for__isnull=True) | Q(finished_at__isnull=True),
                name="sagas_saga_waiting_why",
            ),
            models.CheckConstraint(
                condition=Q(parent_id__isnull=True, parent_step__isnull=True)
                | Q(parent_id__isnull=False, parent_step__isnull=False),
                name="sagas_saga_parent_step",
            ),
            models.CheckConstraint(condition=Q(pending__gte=0), name="sagas_saga_pending"),
            models.CheckConstraint(
                condition=Q(cursor__gte=-1, cursor__lte=models.F("last_step") + 1),
                name="sagas_saga_cursor",
            ),
        ]

    def __str__(self) -> str:
        """Return the saga's name and key."""
        return f"{self.name} {self.key}"

    @property
    def may_turn(self) -> bool:
        """Return whether a cancel or the deadline can still turn it round, while it runs.

        Past the point of no return only as long as it waits for its lock, and no parent needs it.
        """
        if not self.past_return:
            return True
        waits = str(self.waiting_for).startswith("lock:")
        if not waits or self.parent_id is None:
            return waits
        return not SagaInstance.objects.filter(id=self.parent_id, past_return=True).exists()
