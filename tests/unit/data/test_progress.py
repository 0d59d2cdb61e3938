import io

import pytest

from config.replay import progress
from config.replay.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_terminal_gets_a_bar_with_the_rate_and_the_time_left(clock):
    out = Terminal()
    shown = Progress(out, 1200, 0, "orders")

    clock.now += 10
    shown.update(200, "64 under way")

    assert out.getvalue() == (
        "\r\x1b[K████···················· 200 of 1,200 orders, 20.0/s, 0:50 left, 64 under way"
    )


def test_elsewhere_a_line_comes_now_and_then(clock):
    out = io.StringIO()
    shown = Progress(out, 100, 0, "orders")

    for done in range(1, 13):
        clock.now += 1
        shown.update(done)

    assert out.getvalue().splitlines() == [
        "1 of 100 orders, 1.0/s, 1:39 left",
        "6 of 100 orders, 1.0/s, 1:34 left",
        "11 of 100 orders, 1.0/s, 1:29 left",
    ]


def test_the_rate_is_that_of_late_and_does_not_count_what_was_done_before(clock):
    shown = Progress(io.StringIO(), 1000, 500, "orders")

    clock.now += 10
    shown.update(510)
    assert shown.rate == 1.0
    for _ in range(40):
        clock.now += 1
        shown.update(510)

    assert shown.rate == 0.0


def test_the_end_is_shown_in_any_case(clock):
    out = io.StringIO()
    shown = Progress(out, 2, 0, "orders")

    shown.update(1)
    shown.update(2, last=True)

    assert out.getvalue().splitlines()[-1].startswith("2 of 2 orders")


def test_nothing_to_do_is_done(clock):
    out = Terminal()

    Progress(out, 0, 0, "orders").update(0, last=True)

    assert out.getvalue() == f"\r\x1b[K{'█' * 24} 0 of 0 orders, 0.0/s\n"


def test_hours_are_shown_as_such(clock):
    out = io.StringIO()
    shown = Progress(out, 8_000, 0, "orders")

    clock.now += 1
    shown.update(1)

    assert "2:13:19 left" in out.getvalue()
