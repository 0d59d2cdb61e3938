"""A group of two that can only end if its branches run in two processes at once."""

from dataclasses import dataclass, replace
from datetime import timedelta

from sagas.api import Saga, compensatable, parallel, pivot
from tests.workers.side_by_side.steps import Meet, Met, Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Meeting:
    pids: tuple[int, ...] = ()


def go_left(state: Meeting) -> Meet:
    return Meet(own="left", other="right")


def go_right(state: Meeting) -> Meet:
    return Meet(own="right", other="left")


def keep_pid(state: Meeting, reply: Met) -> Meeting:
    return replace(state, pids=(*state.pids, reply.pid))


def go_home(state: Meeting) -> Part:
    return Part()


MEETING = Saga(
    name="orders.meeting",
    version=1,
    state=Meeting,
    deadline=timedelta(minutes=5),
    steps=(
        parallel(
            compensatable("left", do=go_left, undo=go_home, keep=keep_pid),
            compensatable("right", do=go_right, undo=go_home, keep=keep_pid),
        ),
        pivot("part", do=go_home),
    ),
)
