"""The real engine on the real database, under schedules that a seed decides.

A failing one prints its trace and the command that plays it again.
"""

import time

import pytest

# Of the suite's own run: a fixed set, so that a red suite is red again.
FAST = range(160)
LONG = 4000


def test_under_fixed_schedules_every_saga_and_event_comes_out_right(stage):
    for seed in FAST:
        assert_right(stage.play(seed))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_under_thousands_of_schedules_every_saga_and_event_comes_out_right(stage, request):
    wanted = request.config.getoption("--schedules") or LONG
    first = request.config.shuffle_seed * 1_000_000
    began, decisions, kinds = time.monotonic(), 0, set()
    for seed in range(first, first + wanted):
        verdict = stage.play(seed)
        decisions += len(verdict.trace)
        kinds.add(verdict.digest)
        assert_right(verdict)
    minutes = (time.monotonic() - began) / 60
    print(
        f"\nseeds {first} to {first + wanted - 1}: {wanted} schedules, {len(kinds)} of them"
        f" different, {decisions} decisions, {wanted / minutes:.0f} schedules per minute"
    )


def test_a_seed_is_the_same_schedule_each_time(stage, request):
    given = request.config.getoption("--schedule")
    seeds = range(4) if given is None else [given]
    for seed in seeds:
        first, second = stage.play(seed), stage.play(seed)
        if given is not None:
            print("", *first.trace, sep="\n  ")
        assert_right(first)
        assert second.trace == first.trace


def assert_right(verdict):
    if verdict.wrongs:
        pytest.fail(str(verdict), pytrace=False)
