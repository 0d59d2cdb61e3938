"""The four local steps and their compensations, carried out by the real engine."""

from dataclasses import dataclass
from typing import ClassVar

from config.bench.effects import write
from sagas.api import Command, Rejected, current_run, handles


@dataclass(frozen=True, kw_only=True, slots=True)
class First(Command[None]):
    """The first write."""

    name: ClassVar[str] = "orders.BenchFirst"
    orm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Second(Command[None]):
    """The second write."""

    name: ClassVar[str] = "payments.BenchSecond"
    orm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Third(Command[None]):
    """The third write."""

    name: ClassVar[str] = "billing.BenchThird"
    orm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Fourth(Command[None]):
    """The fourth write, or the rejection that makes a saga compensate."""

    name: ClassVar[str] = "orders.BenchFourth"
    orm: bool
    rejected: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoFirst(Command[None]):
    """Takes the first write back."""

    name: ClassVar[str] = "orders.BenchUndoFirst"
    orm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoSecond(Command[None]):
    """Takes the second write back."""

    name: ClassVar[str] = "payments.BenchUndoSecond"
    orm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoThird(Command[None]):
    """Takes the third write back."""

    name: ClassVar[str] = "billing.BenchUndoThird"
    orm: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoFourth(Command[None]):
    """Would take the fourth write back; never carried out, since only a rejection turns round."""

    name: ClassVar[str] = "orders.BenchUndoFourth"
    orm: bool


@handles(First, shares_commit=True)
def first(command: First) -> None:
    """Write."""
    write(0, current_run().saga_id, 1, orm=command.orm)


@handles(Second, shares_commit=True)
def second(command: Second) -> None:
    """Write."""
    write(1, current_run().saga_id, 1, orm=command.orm)


@handles(Third, shares_commit=True)
def third(command: Third) -> None:
    """Write."""
    write(2, current_run().saga_id, 1, orm=command.orm)


@handles(Fourth, shares_commit=True)
def fourth(command: Fourth) -> None:
    """Write, or say no."""
    if command.rejected:
        raise Rejected("benchmark")
    write(3, current_run().saga_id, 1, orm=command.orm)


@handles(UndoFirst, shares_commit=True)
def undo_first(command: UndoFirst) -> None:
    """Take back.

    Safe to repeat: the barrier lets one compensation of a step commit.
    """
    write(0, current_run().saga_id, -1, orm=command.orm)


@handles(UndoSecond, shares_commit=True)
def undo_second(command: UndoSecond) -> None:
    """Take back.

    Safe to repeat: the barrier lets one compensation of a step commit.
    """
    write(1, current_run().saga_id, -1, orm=command.orm)


@handles(UndoThird, shares_commit=True)
def undo_third(command: UndoThird) -> None:
    """Take back.

    Safe to repeat: the barrier lets one compensation of a step commit.
    """
    write(2, current_run().saga_id, -1, orm=command.orm)


@handles(UndoFourth, shares_commit=True)
def undo_fourth(command: UndoFourth) -> None:
    """Take back.

    Safe to repeat: the barrier lets one compensation of a step commit.
    """
    write(3, current_run().saga_id, -1, orm=command.orm)
