"""The sweeper's truth table, its patience, and that no row can hide from it."""

import itertools
from datetime import timedelta

import pytest
from celery import current_app
from django.db import IntegrityError, connection

from sagas import clock
from sagas.conf import conf
from sagas.orchestration import canvas, stops, store
from sagas.orchestration import sweep as sweeping
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.together import raised, together

SLOW = 6
"""Seconds that a busy machine may need for what takes it no time."""
WAITS = {
    # what the row waits for: (leased_until, not_before, due_at), in seconds from now
    "a live lease": (60, None, 60),
    "a lease that has run out": (-1, None, -1),
    "a delay that runs": (None, 60, 60),
    "a delay that is over": (None, -1, -1),
    "a hint given just now": (None, None, 60),
    "a hint that is due": (None, None, -1),
    "a hint long due": (None, None, -3600),
}
TABLE = [
    pytest.param(*case, id=", ".join(map(str, case)))
    for case in itertools.product(
        ("running", "compensating"),
        WAITS,
        ("", "parked"),
        ("before the deadline", "past the deadline"),
        ("", "past return"),
        ("idle", "busy"),
    )
    if not (case[0] == "compensating" and case[4])  # refused by the database
    and not (case[2] and "lease" in case[1])  # refused by the database
]


def set_row(saga_id, **values):
    """Set columns; numbers of *_at, *_until and not_before are seconds from now."""
    times = ("due_at", "leased_until", "not_before", "deadline_at", "parked_at")
    columns = ", ".join(
        f"{name} = clock_timestamp() + make_interval(secs => %s)"
        if name in times
        else f"{name} = %s"
        for name in values
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE sagas_saga SET {columns} WHERE id = %s", [*values.values(), saga_id]
        )


def seconds_ahead(moment):
    return None if moment is None else (moment - clock.real()).total_seconds()


@pytest.fixture
def queue(monkeypatch, settings):
    """Says how many messages wait; all steps share it."""
    settings.STEP_QUEUES = "shared"
    depths = {}
    monkeypatch.setattr(canvas, "depth", lambda _: depths.get("steps", 0))
    return depths


@pytest.mark.parametrize(("status", "wait", "parked", "deadline", "past", "busy"), TABLE)
def test_the_truth_table(broker, queue, status, wait, parked, deadline, past, busy):
    saga_id = trial.begin()
    broker.take()
    leased_until, not_before, due_at = WAITS[wait]
    cursor = 3 if past else 1
    set_row(
        saga_id,
        status=status,
        cursor=cursor,
        past_return=bool(past),
        leased_until=leased_until,
        not_before=not_before,
        due_at=due_at,
        parked_at=0 if parked else None,
        parked_reason="by hand" if parked else None,
        deadline_at=-5 if "past" in deadline else 300,
        hints=2,
    )
    queue["steps"] = 7 if busy == "busy" else 0
    before = row(saga_id)

    swept = sweep()

    after = row(saga_id)
    sent = [(m.tasks if hasattr(m, "tasks") else [m])[0] for m in broker.take()]
    patient = busy == "busy" and wait == "a hint that is due" and not parked
    if due_at > 0 or patient:
        assert (swept, sent) == (0, [])
        assert (after.due_at, after.hints, after.status) == (before.due_at, 2, status)
        return
    assert swept == 1
    assert after.leased_until is None
    assert after.not_before is None
    if status == "running" and not past and "past" in deadline:
        assert (after.status, after.failure, after.cursor) == ("compensating", "deadline", 4)
        assert (after.parked_at, after.parked_reason, after.attempts) == (None, None, 0)
        assert after.fencing_token == before.fencing_token + 1
        assert [(m.task, m.args[1:]) for m in sent] == [("sagas.undo_link", (0, 4, True))]
        assert seconds_ahead(after.due_at) == pytest.approx(conf.HINT_GRACE, abs=SLOW)
    elif parked:
        assert sent == []
        assert (after.status, after.parked_reason) == (status, "by hand")
        assert after.fencing_token == before.fencing_token
        if status == "running" and not past:
            assert after.due_at - after.deadline_at < timedelta(seconds=SLOW)
        else:
            assert after.due_at is None, "it waits for a person"
    else:
        expected = (
            ("sagas.run_link", (cursor, 4, True))
            if status == "running"
            else ("sagas.undo_link", (0, cursor, True))
        )
        assert [(m.task, m.args[1:]) for m in sent] == [expected]
        assert (after.status, after.hints, after.cursor) == (status, 3, cursor)
        assert after.fencing_token == before.fencing_token
        most = min(conf.HINT_GRACE * 1.7**2, conf.HINT_CAP)
        assert seconds_ahead(after.due_at) == pytest.approx(most, abs=SLOW)


@pytest.mark.parametrize(
    ("wait", "parked", "deadline"),
    [
        case
        for case in itertools.product(WAITS, (None, 0), (-5, 300))
        if not (case[1] == 0 and "lease" in case[0])  # refused by the database
    ],
)
def test_neither_attempts_nor_what_it_waits_for_changes_what_the_sweeper_does(
    broker, queue, wait, parked, deadline
):
    leased_until, not_before, due_at = WAITS[wait]
    ids = {trial.begin(): more for more in itertools.product((0, 99), (None, "signal:approve"))}
    broker.take()
    for saga_id, (attempts, waiting_for) in ids.items():
        set_row(
            saga_id,
            leased_until=leased_until,
            not_before=not_before,
            due_at=due_at,
            parked_at=parked,
            parked_reason=None if parked is None else "by hand",
            deadline_at=deadline,
            attempts=attempts,
            waiting_for=waiting_for,
        )

    assert sweep() == (4 if due_at < 0 else 0)

    after = [row(saga_id) for saga_id in ids]
    sent = [(m.tasks if hasattr(m, "tasks") else [m])[0].args[0] for m in broker.take()]
    turned = due_at < 0 and deadline < 0
    assert {saga.status for saga in after} == {"compensating" if turned else "running"}
    assert {saga.parked_at is None for saga in after} == {parked is None or turned}
    assert {seconds_ahead(saga.due_at) > 0 for saga in after} == {True}
    rung = turned or (due_at < 0 and parked is None)
    assert sorted(sent) == (sorted(map(str, ids)) if rung else [])
    for saga in after:
        attempts, waiting_for = ids[saga.id]
        if wait == "a lease that has run out":
            # The one thing that a sweep counts: nobody may take it for a fresh saga.
            attempts = max(attempts, 1)
        # Who claims it counts and wakes; a compensation begins anew.
        assert (saga.attempts, saga.waiting_for) == (
            (0, None) if turned else (attempts, waiting_for)
        )


def test_a_finished_saga_is_never_hinted(broker):
    saga_id = trial.begin()
    broker.drain()

    assert row(saga_id).due_at is None
    assert sweep() == 0


def test_hints_come_less_and_less_often_up_to_a_cap(broker, queue):
    saga_id = trial.begin()
    waits = []
    for _ in range(25):
        set_row(saga_id, due_at=-1)
        assert sweep() == 1
        waits.append(seconds_ahead(row(saga_id).due_at))

    assert waits[0] == pytest.approx(conf.HINT_GRACE, abs=SLOW)
    assert waits[1] == pytest.approx(conf.HINT_GRACE * 1.7, abs=SLOW)
    assert waits[-1] == pytest.approx(conf.HINT_CAP, abs=SLOW)
    assert max(waits) <= conf.HINT_CAP


def test_a_step_that_is_done_makes_the_sweeper_quick_again(broker, queue):
    saga_id = trial.begin()
    set_row(saga_id, hints=20)
    claimed_and_one_step(broker)

    assert row(saga_id).hints == 0


def claimed_and_one_step(broker):
    [chain] = broker.take()
    link = getattr(chain, "tasks", [chain])[0]
    saga_id, low, _, swept = link.args[:4]
    current_app.tasks["sagas.run_link"](saga_id, low, low, swept)


def test_a_sweep_takes_the_oldest_first_and_no_more_than_its_batch(broker, queue, settings):
    settings.SAGAS = {**settings.SAGAS, "SWEEP_BATCH": 2}
    ids = [trial.begin() for _ in range(5)]
    broker.take()
    for age, saga_id in zip((30, 50, 10, 40, 20), ids, strict=True):
        set_row(saga_id, due_at=-age)

    def hinted():
        sweep()
        found = [(m.tasks if hasattr(m, "tasks") else [m])[0].args[0] for m in broker.take()]
        return [ids[[str(i) for i in ids].index(saga)] for saga in found]

    assert hinted() == [ids[1], ids[3]]
    assert hinted() == [ids[0], ids[4]]
    assert hinted() == [ids[2]]
    assert hinted() == []


def test_sweepers_at_once_hint_each_saga_once(broker, queue, settings):
    settings.SAGAS = {**settings.SAGAS, "SWEEP_BATCH": 15}
    ids = [trial.begin() for _ in range(40)]
    broker.take()
    for saga_id in ids:
        make_due(saga_id)

    counts = together(*[sweep] * 4)
    assert raised(counts) == []
    assert sum(counts) == 40
    found = [m.args[0] if not hasattr(m, "tasks") else m.tasks[0].args[0] for m in broker.take()]
    assert sorted(found) == sorted(str(saga_id) for saga_id in ids)


def test_a_saga_of_an_unknown_version_stays_due_and_holds_nobody_up(broker, queue):
    unknown, known = trial.begin(), trial.begin()
    broker.take()
    set_row(unknown, due_at=-100, def_version=99)
    set_row(known, due_at=-1)

    assert sweep() == 2
    assert len(broker.take()) == 1
    after = row(unknown)
    assert (after.status, after.attempts, after.parked_at) == ("running", 0, None)
    assert 0 < seconds_ahead(after.due_at) <= conf.HINT_CAP
    set_row(unknown, def_version=1)
    make_due(unknown)
    sweep()
    broker.drain()
    assert row(unknown).status == "completed"


def test_a_sweeper_that_dies_before_its_hints_is_replaced_by_the_next(broker, queue, monkeypatch):
    saga_id = trial.begin()
    broker.take()
    make_due(saga_id)
    monkeypatch.setattr(sweeping, "_take_up", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sweep()
    monkeypatch.undo()

    assert 0 < seconds_ahead(row(saga_id).due_at) <= conf.HINT_GRACE


def test_a_hint_that_the_broker_refuses_is_given_again(broker, queue, monkeypatch):
    saga_id = trial.begin()
    broker.take()
    make_due(saga_id)
    with monkeypatch.context() as refusing:
        refusing.setattr(canvas, "publish", lambda *_, **__: False)
        assert sweep() == 1

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_the_longer_the_queue_the_more_patience_a_hint_gets(broker, queue):
    saga_id = trial.begin()
    broker.take()
    set_row(saga_id, due_at=-2 * conf.BUSY_GRACE)
    queue["steps"] = 2 * int(conf.SWEEP_BATCH)

    assert sweep() == 0, "its message is most likely still in the queue"
    set_row(saga_id, due_at=-3.5 * conf.BUSY_GRACE)
    assert sweep() == 1, "however long the queue, a lost hint is given again"


@pytest.fixture
def depths(monkeypatch, settings):
    """Says how many messages wait in the queue of each context."""
    settings.STEP_QUEUES = "per-context"
    waiting = {}
    monkeypatch.setattr(canvas, "depth", lambda queue: waiting.get(queue, 0))
    return waiting


def test_a_saga_whose_queue_is_empty_does_not_wait_for_the_queue_of_others(broker, depths):
    lost, queued = trial.begin(), trial.begin()
    broker.take()
    set_row(lost, due_at=-1)
    set_row(queued, due_at=-1, cursor=2)
    depths["payments"] = 100 * int(conf.SWEEP_BATCH)

    assert sweep() == 1
    assert [message.tasks[0].args[0] for message in broker.take()] == [str(lost)]


def test_a_branch_whose_queue_is_empty_does_not_wait_for_the_queue_of_others(broker, group, depths):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_steprun SET due_at = clock_timestamp() - interval '1 second'"
            " WHERE due_at IS NOT NULL"
        )
    depths["payments"] = 100 * int(conf.SWEEP_BATCH)

    sweep()
    assert {message.options["queue"] for message in broker.take()} == {"billing", "orders"}


@pytest.mark.parametrize("off", [timedelta(minutes=-10), timedelta(minutes=10)])
@pytest.mark.parametrize("parked", [None, 0])
def test_who_is_overdue_is_told_by_the_clock_by_which_it_is_due(
    broker, queue, monkeypatch, off, parked
):
    """Else an overdue saga of which beat's machine does not know it comes again each second."""
    over, not_over = trial.begin(), trial.begin()
    broker.take()
    for saga_id, deadline in ((over, -5), (not_over, 300)):
        set_row(
            saga_id,
            due_at=-1,
            deadline_at=deadline,
            parked_at=parked,
            parked_reason=None if parked is None else "by hand",
        )
    right = clock.real
    with monkeypatch.context() as wrong:
        wrong.setattr(clock, "real", lambda: right() + off)
        sweep()

    assert [row(saga_id).status for saga_id in (over, not_over)] == ["compensating", "running"]
    assert {seconds_ahead(row(saga_id).due_at) > 0 for saga_id in (over, not_over)} == {True}


def test_without_a_broker_the_sweeper_takes_the_queue_for_empty(celery_without_broker):
    assert canvas.depth("steps") == 0


def test_the_depth_of_a_queue_is_what_the_broker_says():
    queue = canvas.queue_of("orders")
    assert canvas.depth(queue) == 0
    trial.begin()

    assert canvas.depth(queue) == 1


def test_the_deadline_follows_the_business_clock(broker, queue):
    saga_id = trial.begin()
    broker.take()
    clock.travel(timedelta(minutes=6))

    assert sweep() == 1
    broker.drain()
    assert (row(saga_id).status, row(saga_id).failure) == ("compensated", "deadline")


def test_a_parked_saga_waits_for_its_deadline_also_on_the_business_clock(broker, queue):
    saga_id = trial.begin()
    broker.take()
    stops.park(saga_id, reason="by hand")
    clock.travel(timedelta(minutes=6))

    sweep()
    broker.drain()
    assert row(saga_id).status == "compensated"


def by_hand(broker):
    saga_id = trial.begin()
    broker.take()
    stops.park(saga_id, reason="by hand")
    return saga_id


def by_hand_and_looked_at(broker):
    saga_id = by_hand(broker)
    make_due(saga_id)
    sweep()
    return saga_id


def by_its_faults(broker):
    trial.SCRIPT["take"] = raising(RuntimeError("down"))
    saga_id = trial.begin()
    broker.drain()
    return saga_id


def by_a_branch(broker):
    trial.SCRIPT["pack"] = raising(RuntimeError("down"))
    saga_id = fan.begin()
    broker.drain()
    return saga_id


@pytest.mark.parametrize("parked", [by_hand, by_hand_and_looked_at, by_its_faults, by_a_branch])
def test_a_parked_saga_is_due_at_its_deadline_although_the_clock_was_moved_before(
    broker, fan_saga, settings, parked
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    clock.travel(timedelta(days=1))

    saga = row(parked(broker))
    assert saga.parked_at is not None
    left = (saga.deadline_at - clock.now()).total_seconds()
    assert 0 < left < 300
    assert seconds_ahead(saga.due_at) == pytest.approx(left, abs=SLOW)


# -- what the database refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"due_at": None}, "sagas_saga_seen"),
        ({"status": "done"}, "sagas_saga_"),
        ({"status": "completed"}, "sagas_saga_finished"),
        ({"parked_at": 0}, "sagas_saga_parked_why"),
        ({"parked_reason": "why"}, "sagas_saga_parked_why"),
        ({"parked_at": 0, "parked_reason": "why", "leased_until": 5}, "sagas_saga_parked_why"),
        ({"status": "compensating", "past_return": True}, "sagas_saga_no_return"),
        ({"cursor": 6}, "sagas_saga_cursor"),
        ({"cursor": -2}, "sagas_saga_cursor"),
    ],
    ids=str,
)
def test_a_saga_that_nobody_would_take_up_cannot_be_written(broker, values, constraint):
    saga_id = trial.begin()

    with pytest.raises(IntegrityError, match=constraint):
        set_row(saga_id, **values)


def test_an_ended_saga_cannot_be_made_due_again(broker):
    saga_id = trial.begin()
    broker.drain()

    with pytest.raises(IntegrityError, match="has ended"):
        set_row(saga_id, due_at=0)
    with pytest.raises(IntegrityError, match="has ended"):
        store.claim(saga_id, status="completed", low=0, high=5)
    assert row(saga_id).status == "completed"
