"""Tables that every context has in its own schema: outbox, inbox, position, barrier, requests.

A context subclasses each of them in ``<context>/models/messaging.py``. Nothing is shared, so
that a context can move to a database of its own.
"""

from typing import Any, ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7


class Aggregate(models.Model):
    """A row that publishes events; ``event_sequence`` numbers them without a gap."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    event_sequence = models.BigIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        """Save every field but the counter: an old copy would take used numbers back."""
        chosen = options.get("update_fields") is not None or options.get("force_insert")
        if not (self._state.adding or args or chosen):
            kept_out = {"event_sequence", *self.get_deferred_fields()}
            options["update_fields"] = [
                field.name
                for field in self._meta.concrete_fields
                if not field.primary_key and field.attname not in kept_out
            ]
        super().save(*args, **options)

    @property
    def aggregate_type(self) -> str:
        """Return the name under which consumers keep their position, like ``orders.order``.

        That of the model whose table it is: a proxy's rows, and their counter, are the same.
        """
        return type_of(self)

    @property
    def aggregate_id(self) -> UUID:
        """Return the key under which consumers keep their position."""
        return self.id


def type_of(aggregate: Aggregate | type[Aggregate]) -> str:
    """Return the name of the model in whose table an aggregate lies."""
    concrete = aggregate._meta.concrete_model
    assert concrete is not None
    return concrete._meta.label_lower


class OutboxBase(models.Model):
    """Events written in the transaction of the change they tell of.

    Column names follow the defaults of Debezium's outbox event router (``aggregatetype``,
    ``aggregateid``, ``type``, ``payload``), so that it can read the table as it is.
    """

    position = models.BigAutoField(primary_key=True)
    id = models.UUIDField(default=uuid7, unique=True)
    aggregatetype = models.TextField()
    aggregateid = models.UUIDField()
    sequence = models.BigIntegerField()
    type = models.TextField()
    version = models.PositiveIntegerField()
    payload = models.JSONField()
    occurred_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    correlation_id = models.TextField()
    causation_id = models.TextField(null=True)
    traceparent = models.TextField(null=True)
    actor = models.TextField(null=True, help_text="Who did it, where that is known.")
    leased_until = models.DateTimeField(null=True, help_text="A relay is publishing it.")
    published_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0, db_default=0)
    outside_due = models.BooleanField(
        default=False, db_default=False, help_text="It has still to be published to the outside."
    )
    outside_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        verbose_name = "outbox row"
        verbose_name_plural = "outbox"
        indexes: ClassVar = [
            models.Index(
                fields=["position"],
                condition=Q(published_at__isnull=True),
                name="%(app_label)s_%(class)s_unsent",
            ),
            models.Index(
                fields=["published_at"],
                condition=Q(settled_at__isnull=True, published_at__isnull=False),
                name="%(app_label)s_%(class)s_unsettled",
            ),
            models.Index(
                fields=["position"],
                condition=Q(outside_due=True),
                name="%(app_label)s_%(class)s_outside",
            ),
            # An operator reads all that belongs to one click.
            models.Index(fields=["correlation_id"], name="%(app_label)s_%(class)s_click"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["aggregatetype", "aggregateid", "sequence"],
                name="%(app_label)s_%(class)s_gapless",
            )
        ]

    def __str__(self) -> str:
        """Return the event's name and number in its aggregate."""
        return f"{self.type} #{self.sequence}"


class StreamDueBase(models.Model):
    """Events that have still to get into the stream; a row goes when its event is there.

    A table of its own, so that neither waits for the other's lock on an event, and a mark costs no
    new version of it with an entry in each of its indexes.
    """

    position = models.BigIntegerField(primary_key=True, help_text="Of the event in the outbox.")

    class Meta:
        abstract = True
        verbose_name = "event for the stream"
        verbose_name_plural = "events for the stream"

    def __str__(self) -> str:
        """Return which event it is."""
        return f"position {self.position}"


class StreamLeaseBase(models.Model):
    """The one row that says who brings a context's events into the stream, and how that went."""

    id = models.SmallIntegerField(primary_key=True)
    leased_until = models.DateTimeField(help_text="Or, after a failure, not to be tried before.")
    failures = models.IntegerField(default=0, db_default=0, help_text="In a row.")
    error = models.TextField(default="", db_default="")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        """Return how it went."""
        return self.error or "well"


class InboxBase(models.Model):
    """Events this context has applied; the row commits with what the handlers wrote."""

    id = models.BigAutoField(primary_key=True)
    consumer = models.TextField()
    event_id = models.UUIDField()
    type = models.TextField()
    applied_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
        verbose_name = "inbox row"
        verbose_name_plural = "inbox"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["consumer", "event_id"], name="%(app_label)s_%(class)s_once"
            )
        ]

    def __str__(self) -> str:
        """Return the event's name and id."""
        return f"{self.type} {self.event_id}"


class PositionBase(models.Model):
    """The number of the last event of an aggregate that this context has applied."""

    id = models.BigAutoField(primary_key=True)
    aggregatetype = models.TextField()
    aggregateid = models.UUIDField()
    sequence = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["aggregatetype", "aggregateid"], name="%(app_label)s_%(class)s_aggregate"
            )
        ]

    def __str__(self) -> str:
        """Return the aggregate and how far it has been applied."""
        return f"{self.aggregatetype} {self.aggregateid} at {self.sequence}"


class BarrierBase(models.Model):
    """The row that makes late, double and empty runs of a step harmless (after dtm's barrier).

    One per effect: a compensation that comes first plants the forward row as ``canceled``, and
    the forward run that comes late finds the door closed.
    """

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    step_no = models.SmallIntegerField()
    direction = models.TextField()
    state = models.TextField()
    reply = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["saga_id", "step_no", "direction"], name="%(app_label)s_%(class)s_effect"
            )
        ]

    def __str__(self) -> str:
        """Return the effect the row stands for."""
        return f"{self.saga_id}:{self.step_no}:{self.direction}"


class IdempotencyBase(models.Model):
    """The answer given to a request, kept under its Idempotency-Key."""

    id = models.BigAutoField(primary_key=True)
    scope = models.TextField(help_text="Who asked for what: principal, method and route.")
    key = models.TextField()
    fingerprint = models.TextField(help_text="SHA-256 of the request that the key belongs to.")
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["scope", "key"], name="%(app_label)s_%(class)s_key")
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at"], name="%(app_label)s_%(class)s_age")
        ]

    def __str__(self) -> str:
        """Return the scope and the key."""
        return f"{self.scope} {self.key}"
