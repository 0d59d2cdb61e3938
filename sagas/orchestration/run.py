"""What a handler may know about the saga it works for."""

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from sagas.core.errors import SagasError
from sagas.core.keys import Direction


class NotInAStep(SagasError):
    """No saga step is running here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The step run that is under way."""

    saga_id: UUID
    saga_name: str
    step: str
    step_no: int
    direction: Direction
    effect_key: str
    """The same for every attempt; the idempotency key of the effect."""
    attempts: int
    correlation_id: str
    failure: str | None
    """Why the saga compensates; None on the way forward."""
    canceled_by: str | None
    """Who canceled, when that is why it compensates."""
    token: int = 0
    """The fencing token under which it runs."""
    group: int | None = None
    """The group whose branch it is, if it is one."""

    @property
    def place(self) -> str:
        """Return the step as failpoints name it: ``undo.`` before the name on the way back."""
        return f"undo.{self.step}" if self.direction is Direction.UNDO else self.step


RUN: ContextVar[Run | None] = ContextVar("run", default=None)


def current_run() -> Run:
    """Return the step run that is under way.

    :raises NotInAStep: if none is
    """
    run = RUN.get()
    if run is None:
        raise NotInAStep
    return run
