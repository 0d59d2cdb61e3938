"""The engine's per-context tables, in this context's schema."""

from sagas.models import (
    BarrierBase,
    EventBase,
    IdempotencyBase,
    InboxBase,
    OutboxBase,
    PositionBase,
    StreamDueBase,
    StreamLeaseBase,
)


class Outbox(OutboxBase):
    """Events of this context."""


class Event(EventBase):
    """Events of this context, for good."""


class StreamDue(StreamDueBase):
    """Events of this context that have still to get into the stream."""


class StreamLease(StreamLeaseBase):
    """Who brings them there."""


class Inbox(InboxBase):
    """Events this context has applied."""


class Position(PositionBase):
    """How far this context has read each aggregate."""


class Barrier(BarrierBase):
    """Effects this context has carried out for a saga."""


class Idempotency(IdempotencyBase):
    """Answers this context gave to requests."""
