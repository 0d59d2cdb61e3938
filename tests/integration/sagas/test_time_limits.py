"""A step that takes too long over all its attempts: turned round before the return, told after."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from sagas import clock
from sagas.api import Lock, Meeting, parallel, retriable, skip
from sagas.core.keys import Direction
from sagas.core.step import compensatable
from sagas.failpoints import listening
from sagas.models import StepRun
from sagas.orchestration import limits, registry, stops, store
from sagas.orchestration.branches import run_branch
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from sagas.simulation import stage as stage_of_rehearsals
from sagas.simulation.grid import every_placement
from sagas.standing import sentence
from tests.integration.sagas import fan, slow, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.slow import MINUTE, SLOW
from tests.together import together

TAKE, HOLD, CAPTURE, BOOK = 1, 2, 3, 4


@pytest.fixture(autouse=True)
def slow_saga(trial_saga, monkeypatch):
    monkeypatch.setattr(registry, "SAGAS", dict(registry.SAGAS))
    registry.add(SLOW)


def no_line():
    raise TimeoutError("no line")


def left(saga_id):
    """How long the saga may still stand at its step, to ten seconds: a machine may be busy."""
    limit = row(saga_id).step_deadline_at
    return None if limit is None else round((limit - clock.now()).total_seconds(), -1)


def told(saga_id):
    return sentence(row(saga_id), (), clock.real())


def swept(broker):
    sweep()
    broker.drain()


@pytest.fixture
def at_hold(broker):
    """A saga whose second step has failed once, and is tried again in an hour."""
    trial.SCRIPT["hold"] = no_line
    saga_id = slow.begin()
    broker.drain()
    assert (row(saga_id).cursor, row(saga_id).attempts) == (HOLD, 1)
    return saga_id


def grouped():
    packed = parallel(
        compensatable("pack", do=trial.build_take, undo=trial.build_put_back),
        compensatable("weigh", do=trial.build_take, undo=trial.build_put_back),
    )
    steps = (packed, *(replace(step, group=None) for step in SLOW.steps[1:]))
    return registry.add(replace(SLOW, name="orders.grouped", steps=steps))


def skipping():
    steps = list(SLOW.steps)
    steps[TAKE] = replace(steps[TAKE], skippable=True)
    return registry.add(replace(SLOW, name="orders.skipping", steps=tuple(steps)))


def assert_turned_round(saga_id, step="hold"):
    saga = row(saga_id)
    assert (saga.status, saga.failure, saga.failed_step) == ("compensated", "deadline", step)
    assert saga.step_deadline_at is None
    assert f"because the time for its step {step} was over" in told(saga_id)


def test_the_time_of_each_step_counts_from_the_commit_before_it(broker):
    seen = {}
    for step in ("take", "intend_hold", "hold", "capture", "book"):
        trial.SCRIPT[step] = lambda step=step: seen.update({step: left(saga_id)})
    saga_id = slow.begin()
    broker.drain()

    assert seen == {"take": 60, "intend_hold": 120, "hold": 120, "capture": None, "book": 180}
    assert (row(saga_id).status, row(saga_id).step_deadline_at) == ("completed", None)


def test_a_step_that_fails_until_its_time_is_over_turns_the_saga_round(broker, at_hold):
    clock.travel(1.9 * MINUTE)
    swept(broker)
    assert row(at_hold).status == "running"

    clock.travel(0.2 * MINUTE)
    swept(broker)

    assert_turned_round(at_hold)
    assert trial.effects(at_hold) == ["take", "release", "put_back", "close"]


def test_an_attempt_does_not_begin_the_time_anew(broker, at_hold):
    before = row(at_hold).step_deadline_at

    make_due(at_hold)
    swept(broker)

    assert row(at_hold).attempts == 2
    assert row(at_hold).step_deadline_at == before


def test_a_long_delay_does_not_outlast_the_time(broker, at_hold):
    saga = row(at_hold)

    assert saga.not_before - clock.real() > 40 * MINUTE
    assert abs(saga.due_at - saga.step_deadline_at) < MINUTE / 4


def test_a_message_that_comes_too_late_turns_the_saga_round_while_nobody_sweeps(broker):
    saga_id = slow.begin()
    clock.travel(2 * MINUTE)  # no beat: nobody looks but the worker

    broker.drain()

    assert_turned_round(saga_id, "take")
    assert "take" not in trial.effects(saga_id)


MACHINES = [
    pytest.param(timedelta(minutes=10), 300, "running", id="ahead"),
    pytest.param(timedelta(minutes=-10), -5, "compensating", id="behind"),
]


def on_another_machine(monkeypatch, saga_id, off, left):
    """Set how many seconds a saga has left, and a clock that is off for whoever takes it up."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET deadline_at = clock_timestamp() + make_interval(secs => %s)"
            " WHERE id = %s",
            [left, saga_id],
        )
    right = clock.real
    monkeypatch.setattr(clock, "real", lambda: right() + off)


@pytest.mark.parametrize(("off", "left", "status"), MACHINES)
def test_a_worker_whose_clock_is_wrong_tells_by_the_databases_whether_the_time_is_over(
    broker, monkeypatch, off, left, status
):
    saga_id = trial.begin()
    on_another_machine(monkeypatch, saga_id, off, left)
    run_link(saga_id, 1, 1, Direction.DO)

    assert row(saga_id).status == status
    assert trial.effects(saga_id) == (["take"] if status == "running" else [])


@pytest.fixture(params=[timedelta(minutes=-10), timedelta(minutes=10)], ids=["behind", "ahead"])
def wrong_clock(request, monkeypatch):
    """A machine whose clock is off; what it writes is compared by the database's."""
    right = clock.real
    monkeypatch.setattr(clock, "real", lambda: right() + request.param)


def left_by_the_database(saga_id):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT step_deadline_at - sagas.now() FROM sagas_saga WHERE id = %s", [saga_id]
        )
        [(interval,)] = cursor.fetchall()
    return None if interval is None else round(interval.total_seconds())


def test_a_machine_whose_clock_is_wrong_gives_each_step_its_time(broker, wrong_clock):
    seen = []
    for step in ("take", "hold", "book"):
        trial.SCRIPT[step] = lambda: seen.append(left_by_the_database(saga_id))
    saga_id = slow.begin()
    broker.drain()

    assert (row(saga_id).status, seen) == ("completed", [60, 120, 180])


def test_behind_a_group_a_machine_whose_clock_is_wrong_gives_it_too(broker, wrong_clock):
    seen = []
    trial.SCRIPT["take"] = lambda: seen.append(left_by_the_database(saga_id))
    saga_id = slow.begin(grouped())
    broker.drain()

    assert (row(saga_id).status, seen) == ("completed", [None, None, 60])


def test_behind_a_skipped_step_a_machine_whose_clock_is_wrong_gives_it_too(broker, wrong_clock):
    saga_id = slow.begin(skipping())
    stops.park(saga_id, reason="by hand")

    assert skip(saga_id, by="bob", reason="settled by telephone") is True
    assert left_by_the_database(saga_id) == 120


def test_a_saga_that_slept_for_its_lock_has_its_time_by_the_databases_clock(broker, wrong_clock):
    lock = Lock(on=the_order, meeting=Meeting.WAIT)
    queued = registry.add(replace(SLOW, name="orders.slow_queued", lock=lock, steps=SLOW.steps[1:]))
    first, second = slow.begin(queued), slow.begin(queued)
    seen = []
    trial.SCRIPT["take"] = lambda: seen.append(left_by_the_database(second))
    broker.drain()

    assert ([row(saga_id).status for saga_id in (first, second)], seen) == (
        ["completed"] * 2,
        [None, 60],
    )


def test_what_a_worker_does_between_claim_and_step_is_no_fault_of_its_clock(broker, monkeypatch):
    """It rings for those it has left, say, and the broker hangs."""
    saga_id = trial.begin()
    on_another_machine(monkeypatch, saga_id, timedelta(), 5)
    right = clock.real

    def hang(name, _):
        if name == "claim.committed":
            monkeypatch.setattr(clock, "real", lambda: right() + timedelta(seconds=10))

    with listening(hang):
        run_link(saga_id, 1, 1, Direction.DO)

    assert row(saga_id).status == "compensating"


@pytest.mark.parametrize(("off", "left", "status"), MACHINES)
def test_a_branch_whose_workers_clock_is_wrong_is_told_by_the_databases_too(
    broker, group, monkeypatch, off, left, status
):
    on_another_machine(monkeypatch, group, off, left)
    run_branch(group, fan.PACK)

    assert row(group).status == status


def test_beat_that_was_away_finds_the_time_over_when_it_comes_back(broker, at_hold):
    clock.travel(timedelta(hours=3))

    swept(broker)

    assert_turned_round(at_hold)


def test_two_beats_turn_a_saga_round_once(broker, at_hold):
    clock.travel(3 * MINUTE)

    outcomes = together(sweep, sweep)
    broker.drain()

    assert sorted(outcomes) == [0, 1]
    assert_turned_round(at_hold)
    assert StepRun.objects.filter(saga_id=at_hold, direction="undo", name="take").count() == 1


def test_a_worker_that_thaws_after_the_time_is_over_writes_nothing(broker):
    def freeze():
        clock.travel(3 * MINUTE)
        make_due(saga_id)
        swept(broker)
        assert_turned_round(saga_id)

    trial.SCRIPT["hold"] = freeze
    saga_id = slow.begin()
    broker.drain()

    assert_turned_round(saga_id)
    assert "hold" not in trial.effects(saga_id)


def test_a_step_that_ends_while_it_is_swept_has_ended_in_time(broker, at_hold):
    trial.SCRIPT.clear()
    make_due(at_hold)
    sweep()
    [message] = broker.take()
    clock.travel(3 * MINUTE)
    overtaking = iter([lambda: broker.run_chain(message)])

    def overtake(place, detail):
        if (place, detail) == ("step.committed", "hold"):
            raise stage_of_rehearsals.Killed
        if place == "sweep.claimed" and (run := next(overtaking, None)):
            clock.travel(-3 * MINUTE)  # the worker has looked at the clock before
            with pytest.raises(stage_of_rehearsals.Killed):
                run()
            clock.travel(3 * MINUTE)

    with listening(overtake):
        sweep()

    assert (row(at_hold).status, row(at_hold).cursor) == ("running", CAPTURE)
    make_due(at_hold)
    swept(broker)
    assert row(at_hold).status == "completed"


def test_who_has_turned_it_round_and_dies_is_followed_by_the_next_sweep(broker, at_hold):
    clock.travel(3 * MINUTE)

    def die(place, detail):
        if place == "deadline.committed":
            raise stage_of_rehearsals.Killed

    with listening(die), pytest.raises(stage_of_rehearsals.Killed):
        sweep()
    assert (row(at_hold).status, broker.take()) == ("compensating", [])

    make_due(at_hold)
    swept(broker)

    assert_turned_round(at_hold)


def test_a_parked_saga_is_turned_round_when_the_time_is_over(broker, at_hold):
    assert stops.park(at_hold, reason="by hand") is True
    saga = row(at_hold)
    assert saga.due_at - saga.step_deadline_at < MINUTE / 4
    assert "or its deadline compensates it in" in told(at_hold)

    clock.travel(3 * MINUTE)
    swept(broker)

    assert_turned_round(at_hold)


def test_past_the_return_a_late_step_is_told_and_nothing_else(broker):
    trial.SCRIPT["book"] = no_line
    saga_id = slow.begin()
    broker.drain()
    assert "The time for this step is over in" in told(saga_id)

    clock.travel(4 * MINUTE)
    swept(broker)

    saga = row(saga_id)
    assert (saga.status, saga.past_return) == ("running", True)
    assert "It is late: the time for this step was over" in told(saga_id)
    trial.SCRIPT.clear()
    make_due(saga_id)
    swept(broker)
    assert row(saga_id).status == "completed"


def test_a_pivot_that_waits_is_not_measured_by_the_step_before_it(broker):
    trial.SCRIPT["capture"] = no_line
    saga_id = slow.begin()
    broker.drain()

    assert (row(saga_id).cursor, row(saga_id).step_deadline_at) == (CAPTURE, None)


def test_the_time_of_a_saga_that_waits_its_turn_begins_when_it_has_it(broker):
    lock = Lock(on=the_order, meeting=Meeting.WAIT)
    queued = registry.add(replace(SLOW, name="orders.slow_queued", lock=lock, steps=SLOW.steps[1:]))
    first, second = slow.begin(queued), slow.begin(queued)
    assert (left(first), left(second)) == (60, None)
    seen = []
    trial.SCRIPT["take"] = lambda: seen.append(left(second))
    clock.travel(MINUTE / 2)

    broker.drain()

    assert seen == [None, 60]
    assert {row(first).status, row(second).status} == {"completed"}


ORDER = "01900000-0000-7000-8000-000000000000"


def the_order(state: trial.TrialState) -> tuple[str, trial.UUID]:
    return "orders.order", trial.UUID(ORDER)


def test_a_saga_that_counts_and_whose_worker_dies_counts_no_second_time(broker):
    lock = Lock(on=the_order, meeting=Meeting.WAIT)
    queued = registry.add(replace(SLOW, name="orders.slow_queued", lock=lock, steps=SLOW.steps[1:]))
    slow.begin(queued)
    second = slow.begin(queued)

    def die(place, detail):
        if place == "limit.committed":
            raise stage_of_rehearsals.Killed

    with listening(die), pytest.raises(stage_of_rehearsals.Killed):
        broker.drain()
    limit = row(second).step_deadline_at
    assert limit is not None
    seen = []
    trial.SCRIPT["take"] = lambda: seen.append(row(second).step_deadline_at)
    clock.travel(MINUTE / 2)
    make_due(second)
    swept(broker)

    assert (seen, row(second).status) == ([limit], "completed")


def test_who_has_lost_a_saga_begins_no_count(broker):
    saga_id = slow.begin()
    lost = store.claim(saga_id, status="running", low=TAKE, high=BOOK)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sagas_saga SET step_deadline_at = NULL, fencing_token = 9")

    with pytest.raises(store.StaleFencingToken):
        limits.counted(SLOW, replace(lost, step_deadline_at=None))

    assert row(saga_id).step_deadline_at is None


def test_the_step_behind_a_group_has_its_time_from_the_end_of_the_group(broker):
    seen = []
    saga_id = slow.begin(grouped())
    clock.travel(timedelta(hours=1))
    trial.SCRIPT["intend_hold"] = lambda: seen.append(left(saga_id))
    trial.SCRIPT["take"] = lambda: seen.append(left(saga_id))

    broker.drain()

    assert seen == [None, None, 60, 120]


def test_the_step_behind_one_that_an_operator_skips_has_its_time(broker):
    saga_id = slow.begin(skipping())
    stops.park(saga_id, reason="by hand")
    clock.travel(MINUTE / 2)

    assert skip(saga_id, by="bob", reason="settled by telephone") is True

    assert (row(saga_id).cursor, left(saga_id)) == (HOLD, 120)


@pytest.mark.colocated
def test_every_fault_around_a_step_with_a_time_ends_as_it_must():
    stage_of_rehearsals.make_table()

    verdicts = list(every_placement(SLOW))

    assert [verdict for verdict in verdicts if verdict.wrong] == []
    of_time = [v for v in verdicts if v.placements[0].column in {"slow", "slower"}]
    ends = {(v.placements[0].row, v.placements[0].column, v.end) for v in of_time}
    assert {("hold", "slow", "completed"), ("hold", "slow", "compensated")} < ends
    assert {("hold", "slower", "compensated"), ("book", "slow", "completed")} < ends


def test_a_time_for_a_retriable_step_may_be_longer_than_the_deadline():
    late = retriable("book", do=trial.build_book, within=timedelta(days=30))

    assert replace(SLOW, steps=(*SLOW.steps[:4], late)).steps[BOOK].within == timedelta(days=30)
