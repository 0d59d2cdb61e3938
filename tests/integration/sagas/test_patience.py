"""A broker that hangs costs one caller its time-out, not every caller."""

import pytest
from kombu.exceptions import OperationalError

from sagas.orchestration import canvas


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Hint:
    task = "sagas.run_link"

    def __init__(self, clock, takes, error=None):
        self.clock, self.takes, self.error, self.tries = clock, takes, error, 0

    def apply_async(self, **options):
        self.tries += 1
        self.clock.now += self.takes
        if self.error:
            raise self.error


@pytest.fixture
def clock(monkeypatch):
    ticking = Clock()
    monkeypatch.setattr(canvas, "monotonic", ticking)
    monkeypatch.setattr(canvas, "_patience", canvas._Patience())
    return ticking


def test_after_a_broker_that_hung_hints_are_left_to_the_sweeper_for_a_while(clock):
    hint = Hint(clock, 5.0, OperationalError("time-out"))
    assert [canvas.publish(hint) for _ in range(3)] == [False] * 3
    assert hint.tries == 1

    clock.now += 5.1
    back = Hint(clock, 0.001)
    assert canvas.publish(back) is True


def test_a_broker_that_refuses_at_once_is_tried_every_time(clock):
    hint = Hint(clock, 0.01, OperationalError("refused"))

    assert [canvas.publish(hint) for _ in range(3)] == [False] * 3
    assert hint.tries == 3
