"""Events: what has happened in a context, told to whoever subscribed by name."""

from typing import ClassVar


class Event:
    """Something that has happened.

    Subclasses are frozen dataclasses with a stable ``name`` (``context.PastTense``) and a
    ``version``. A changed meaning is a new version; consumers read the fields they need into a
    dataclass of their own, so no import points from the consumer to the producer.
    """

    __slots__ = ()

    name: ClassVar[str]
    version: ClassVar[int] = 1
    outside: ClassVar[str] = ""
    """Who reads it where no context listens: the audit, say. Without a word `check` warns."""
