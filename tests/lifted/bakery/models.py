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
    """Events of this context."""


class Event(EventBase):
    """Events of this context, for good."""


class Inbox(InboxBase):
    """Events this context has applied."""


class Position(PositionBase):
    """How far it has read each aggregate."""


class Barrier(BarrierBase):
    """Effects it has carried out."""


class Idempotency(IdempotencyBase):
    """Answers it gave."""


class Oven(models.Model):
    free = models.IntegerField()
    baked = models.IntegerField(default=0)
