"""The engine's own inbox, positions and barrier, used where contexts are detached.

What a detached context asks of the engine comes through the inbox. A step that does nothing in a
context (it waits) has its barrier row here, since its context is somewhere else.
"""

from sagas.models.contextual import BarrierBase, InboxBase, PositionBase


class Inbox(InboxBase):
    """Requests that the engine has applied."""

    class Meta(InboxBase.Meta):
        """The table ``sagas_inbox``."""


class Position(PositionBase):
    """How far the engine has read."""

    class Meta(PositionBase.Meta):
        """The table ``sagas_position``."""


class Barrier(BarrierBase):
    """Effects that are the engine's own."""

    class Meta(BarrierBase.Meta):
        """The table ``sagas_barrier``."""
