"""One instance of a choreography, watched until its last hop is through."""

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.core.states import FlowState
from sagas.ids import uuid7


class WatchedFlow(models.Model):
    """Written in the transaction of the flow's first event; found by ``due_at``, as sagas are."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.TextField(help_text="The choreography.")
    event_id = models.UUIDField(help_text="The event that it began with.")
    aggregatetype = models.TextField()
    aggregateid = models.UUIDField()
    payload = models.JSONField(help_text="Of the first event.")
    correlation_id = models.TextField()
    traceparent = models.TextField(null=True)
    state = models.TextField(default=FlowState.RUNNING.value)
    seen = models.JSONField(default=list, help_text="The hops that were through, in their order.")
    missing = models.TextField(default="", help_text="What is missing, and since when.")
    undone = models.JSONField(default=list, help_text="The undos that have run, by name.")
    redrives = models.IntegerField(default=0)
    attempts = models.IntegerField(default=0, help_text="Of the hop that is being taken back.")
    token = models.BigIntegerField(default=0, help_text="Raised by every look; fences the others.")
    opened_at = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField(help_text="In business time.")
    due_at = models.DateTimeField(null=True)
    parked_at = models.DateTimeField(null=True)
    parked_reason = models.TextField(default="")
    finished_at = models.DateTimeField(null=True)

    ahead: timedelta = timedelta(0)
    """How far this machine's clock is ahead of the database's; told by a claim, in no column."""

    class Meta:
        db_table = "sagas_watchedflow"
        verbose_name = "watched flow"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "event_id"], name="sagas_watchedflow_once"),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=False)
                | Q(parked_at__isnull=False)
                | Q(due_at__isnull=False),
                name="sagas_watchedflow_never_forgotten",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True, state__in=["running", "compensating"])
                | Q(finished_at__isnull=False, state__in=["completed", "compensated", "closed"]),
                name="sagas_watchedflow_ended_is_ended",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"],
                condition=Q(finished_at__isnull=True, parked_at__isnull=True),
                name="sagas_watchedflow_due",
            ),
            models.Index(fields=["correlation_id"], name="sagas_watchedflow_click"),
            models.Index(fields=["finished_at"], name="sagas_watchedflow_age"),
        ]

    def __str__(self) -> str:
        """Return the choreography and what it is about."""
        return f"{self.name} of {self.aggregatetype} {self.aggregateid}"


class FlowBeginning(models.Model):
    """Since when a choreography is declared; what was told before that begins no flow of it."""

    name = models.TextField(primary_key=True, help_text="The choreography.")
    border = models.BigIntegerField(
        help_text="Last position in its producer's events that was handed out before that."
    )
    declared_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "sagas_flowbeginning"

    def __str__(self) -> str:
        """Return which it is and where it began."""
        return f"{self.name} from {self.border} on"
