"""A wait, a timer or a child that could not be carried out is refused when it is imported."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from sagas.api import InvalidDefinition, child, sleep, wait_for
from tests.unit.sagas.words import (
    OtherState,
    State,
    a_saga,
    ahead,
    backable,
    build_undo,
    deciding,
    opened,
)

HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    word: str


@dataclass
class Thawed:
    word: str


def keep_said(state: State, said: Said) -> State:
    return state


def keep_other(state: State, said: OtherState) -> State:
    return state


def an_hour(state: State) -> timedelta:
    return HOUR


def a_number(state: State) -> int:
    return 1


def a_state(state: State) -> State:
    return state


def a_key(state: State) -> str:
    return "1"


def listening(**changed):
    return wait_for("hear", **{"signal": Said, "within": HOUR, **changed})


def sending(of=None, **changed):
    of = of or a_saga(backable(), name="orders.unit_child")
    return child(
        "send", **{"of": of, "start": a_state, "key": a_key, "undo": build_undo, **changed}
    )


GOING_AHEAD = a_saga(ahead(), name="orders.unit_ahead")


@pytest.mark.parametrize(
    "steps",
    [
        (listening(keep=keep_said), backable(), deciding(), ahead()),
        (backable(), deciding(), listening(otherwise="go_on"), sleep("rest", lasts=HOUR)),
        (opened(), sleep("rest", lasts=an_hour), listening(within=an_hour), ahead()),
        (sending(), deciding(), sending(of=GOING_AHEAD, undo=None)),
    ],
    ids=["first", "after the pivot", "for a time of the state", "children on both sides"],
)
def test_waits_stand_anywhere(steps):
    renamed = [step for step in steps if step.name == "send"]
    if len(renamed) > 1:
        steps = (*steps[:-1], child("again", of=GOING_AHEAD, start=a_state, key=a_key))

    assert a_saga(*steps).contexts == ("orders",) * len(steps)


def test_what_follows_a_pivot_is_past_the_point_of_no_return():
    assert a_saga(backable(), deciding(), sleep("rest", lasts=HOUR), ahead()).first_retriable == 2


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((ahead(), listening()), "past the point of no return nothing is compensated"),
        ((listening(signal=Thawed),), "a signal's payload is a frozen dataclass"),
        ((listening(within=timedelta(0)),), "a wait lasts longer than nothing"),
        ((listening(within=a_number),), "takes State and returns timedelta"),
        ((sleep("rest", lasts=a_number),), "takes State and returns timedelta"),
        ((listening(keep=keep_other),), r"keep takes \(State, Said\) and returns State"),
        ((sending(start=a_key),), "start is a function that takes State and returns State"),
        ((sending(key=a_number),), "key is a function that takes State and returns str"),
        ((sending(keep=keep_said),), r"keep takes \(State, State\) and returns State"),
        ((sending(undo=None),), "before the point of no return a child needs undo="),
        ((sending(of=a_saga(opened(), backable())),), "begins with a step that nobody would do"),
        ((ahead(), sending(undo=None)), "past the point of no return a child must succeed"),
        ((ahead(), sending(of=GOING_AHEAD)), "past the point of no return a child must succeed"),
        ((listening(), opened()), r"the order is begun\?"),
    ],
)
def test_a_wait_that_could_not_be_carried_out_is_refused(steps, said):
    with pytest.raises(InvalidDefinition, match=said):
        a_saga(*steps)


def test_a_wait_ends_in_one_of_two_ways():
    with pytest.raises(ValueError, match="'stop' is not a valid Otherwise"):
        listening(otherwise="stop")
