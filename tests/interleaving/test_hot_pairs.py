"""The pairs that meet most often, in every order in which their statements can follow."""

import pytest

from tests.interleaving.hands import PRESSED_PAIRS
from tests.interleaving.meetings import PAIRS, Begun
from tests.interleaving.pairs import Pair
from tests.interleaving.waiters import WAITING_PAIRS

ALL = PAIRS | WAITING_PAIRS | PRESSED_PAIRS


def pair(stage, name, switches):
    about, *jobs = ALL[name]
    story = (lambda: Begun(about)) if isinstance(about, str) else about
    return Pair(stage, story, *jobs, switches=switches)


# So many interruptions in the suite's own run, and when there is time; None is every order.
FEW, MANY = 1, 2
SHORT = (
    *("step and cancel", "step and step", "relay and", "writer and", "wait and", "signal and"),
    *("end and cancel", "timer and"),
)


QUICK = (
    "step and cancel: hold",
    "step and cancel: capture",
    "step and step: take",
    "step and step: capture",
    "step and sweeper: hold",
    "compensation and zombie: hold",
    "compensation and zombie: capture",
    "branch and branch",
    "branch and cancel",
    "wait and signal",
    "relay and relay",
    "consumer and writer",
    "writer and writer",
    "end and start: who waits",
    "end and cancel",
    "look and cancel",
    "child and call back",
    "apart, step and cancel: take",
    "apart, compensation and zombie: hold",
    "park and step: hold",
    "park and cancel: capture",
    "resume and resume",
    "resume and cancel",
    "skip and step",
    "skip and resume",
    "skip and undo: hold",
    "park, resume and branch: hold",
    "skip and branch: hold",
    "skip and last branch",
    "skip and skip: two branches",
    "apart, skip and step",
    "apart, skip and branch: hold",
)


@pytest.mark.parametrize("name", QUICK)
def test_with_one_interruption_each_pair_comes_out_right(stage, name):
    for verdict in pair(stage, name, FEW).verdicts():
        assert_right(verdict)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ALL)
def test_in_every_order_each_pair_comes_out_right(stage, name):
    played = pair(stage, name, None if name.startswith(SHORT) else MANY)
    for verdict in played.verdicts():
        assert_right(verdict)
    print(f"\n{name}: {played.played} orders")


def assert_right(verdict):
    if verdict.wrongs:
        pytest.fail(str(verdict), pytrace=False)
