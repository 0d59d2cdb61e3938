import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sagas.admin.scale import Scale

START = datetime(2026, 11, 20, tzinfo=UTC)


def at(ms):
    return START + timedelta(milliseconds=ms)


def scale(length, *busy, width=100):
    return Scale(START, at(length), [(at(a), at(b)) for a, b in busy], width)


def test_what_is_busy_throughout_is_drawn_to_scale():
    drawn = scale(1000, (0, 1000))

    assert [drawn.x(at(ms)) for ms in (0, 250, 1000)] == [0, 25, 100]
    assert drawn.breaks() == []


def test_what_lies_outside_is_drawn_at_the_end():
    drawn = scale(1000, (0, 1000))

    assert (drawn.x(at(-5)), drawn.x(at(2000))) == (0, 100)


def test_a_long_wait_is_cut_and_the_cut_says_how_long_it_was():
    drawn = scale(120_000, (0, 1000), (119_000, 120_000))

    [cut] = drawn.breaks()
    assert cut.length == timedelta(seconds=118)
    assert drawn.x(at(1000)) > 30
    assert drawn.x(at(1000)) < cut.x < drawn.x(at(119_000))


def test_a_short_wait_is_not_cut():
    assert scale(3000, (0, 1000), (2000, 3000)).breaks() == []


def test_marks_are_round_and_not_in_a_cut():
    texts = [tick.text for tick in scale(2000, (0, 2000)).ticks()]

    assert texts[:3] == ["0", "+500 ms", "+1 s"]
    drawn = scale(120_000, (0, 1000), (119_000, 120_000))
    low, high = drawn.x(at(1000)), drawn.x(at(119_000))
    assert not [tick for tick in drawn.ticks() if low < tick.x < high]


def test_marks_after_a_long_time_stay_readable():
    drawn = scale(760_000, (0, 1000), (757_000, 760_000))

    assert [tick.text for tick in drawn.ticks()][-2:] == ["+12 min 39.5 s", "+12 min 40 s"]
    assert scale(9_000_000, (0, 9_000_000)).ticks()[-1].text == "+2 h 30 min"


@given(
    length=st.integers(0, 10**9),
    busy=st.lists(st.tuples(st.integers(-100, 10**9), st.integers(-100, 10**9)), max_size=8),
    times=st.lists(st.integers(-100, 10**9), min_size=2, max_size=6),
)
def test_later_is_never_drawn_further_left_and_nothing_outside(length, busy, times):
    drawn = scale(length, *busy)

    xs = [drawn.x(at(ms)) for ms in sorted(times)]
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise(xs))
    assert all(-1e-6 <= x <= 100 + 1e-6 for x in xs)
    assert all(-1e-6 <= tick.x <= 100 + 1e-6 for tick in drawn.ticks())
    assert len(drawn.ticks()) <= 17
