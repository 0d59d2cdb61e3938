"""The benchmark's saga: four local steps over three contexts, each of which can be undone."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from config.bench.steps import (
    First,
    Fourth,
    Second,
    Third,
    UndoFirst,
    UndoFourth,
    UndoSecond,
    UndoThird,
)
from sagas.api import Saga, compensatable


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchState:
    """What the steps are told."""

    orm: bool
    rejected: bool


def build_first(state: BenchState) -> First:
    """Build the first command."""
    return First(orm=state.orm)


def build_second(state: BenchState) -> Second:
    """Build the second command."""
    return Second(orm=state.orm)


def build_third(state: BenchState) -> Third:
    """Build the third command."""
    return Third(orm=state.orm)


def build_fourth(state: BenchState) -> Fourth:
    """Build the fourth command."""
    return Fourth(orm=state.orm, rejected=state.rejected)


def build_undo_first(state: BenchState) -> UndoFirst:
    """Build the first compensation."""
    return UndoFirst(orm=state.orm)


def build_undo_second(state: BenchState) -> UndoSecond:
    """Build the second compensation."""
    return UndoSecond(orm=state.orm)


def build_undo_third(state: BenchState) -> UndoThird:
    """Build the third compensation."""
    return UndoThird(orm=state.orm)


def build_undo_fourth(state: BenchState) -> UndoFourth:
    """Build the fourth compensation."""
    return UndoFourth(orm=state.orm)


BENCH: Final = Saga(
    name="orders.bench",
    version=1,
    state=BenchState,
    deadline=timedelta(hours=1),
    steps=(
        compensatable("first", do=build_first, undo=build_undo_first),
        compensatable("second", do=build_second, undo=build_undo_second),
        compensatable("third", do=build_third, undo=build_undo_third),
        compensatable("fourth", do=build_fourth, undo=build_undo_fourth),
    ),
)
