"""How idempotency keys are derived; the only place that does it."""

from enum import StrEnum
from uuid import UUID


class Direction(StrEnum):
    """Which way a saga moves through a step."""

    DO = "do"
    UNDO = "undo"


def effect_key(saga_id: UUID, step: str, direction: Direction) -> str:
    """Return the key of one effect: constant for ever, whatever the attempt or the message."""
    return f"{saga_id}:{step}:{direction}"
