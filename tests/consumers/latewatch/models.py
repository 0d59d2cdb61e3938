from django.db import models

from sagas.models import (
    BarrierBase,
    EventBase,
    IdempotencyBase,
    InboxBase,
    OutboxBase,
    PositionBase,
)


class Outbox(OutboxBase):
    """Nothing: it tells nobody."""


class Event(EventBase):
    """Nothing: it tells nobody."""


class Inbox(InboxBase):
    """Events it has applied."""


class Position(PositionBase):
    """How far it has read each aggregate."""


class Barrier(BarrierBase):
    """Nothing: it takes part in no saga."""


class Idempotency(IdempotencyBase):
    """Nothing: nobody asks it."""


class Heard(models.Model):
    """What it heard, in the order in which it did."""

    what = models.TextField()
    aggregate = models.UUIDField()
    sequence = models.BigIntegerField()
