"""A row that somebody else holds for a moment is passed by, and not forgotten for it."""

import threading
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connection, connections

from sagas import failpoints
from sagas.api import Signaled, compensate, signal, transaction
from sagas.orchestration import donekeys
from sagas.orchestration.seen import Seen
from sagas.orchestration.sweep import sweep
from tests.concurrency.sagas.races import Gate, row_locked, until_somebody_waits_for_a_lock
from tests.integration.sagas import trial, waiting
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_batches import (
    begin,
    forward,
    sent,
    shared,  # noqa: F401 - a fixture
)
from tests.integration.sagas.waiting import Approved
from tests.together import PATIENCE, raised, together

pytestmark = pytest.mark.usefixtures("shared")


@contextmanager
def held(saga_id):
    """Hold the row of a saga in another session, as a signal that comes early does."""
    gate = Gate()

    def hold():
        try:
            with row_locked(saga_id):
                gate.wait_here()
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    gate.when_reached()
    try:
        yield gate
    finally:
        gate.open()
        thread.join(PATIENCE)


@contextmanager
def short_patience(milliseconds=50):
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{milliseconds}ms'")
        yield
        cursor.execute("RESET lock_timeout")


def spent_batch(shared, settings, saga_id):  # noqa: F811
    """Return a message whose batch gives a saga back while somebody holds its row."""
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}
    holding = held(saga_id)
    gates = []
    trial.SCRIPT["take"] = lambda: gates or gates.append(holding.__enter__())
    [message] = shared.take()
    return message, gates, holding


@pytest.mark.colocated
def test_a_saga_that_is_signaled_while_its_message_is_taken_up_is_rung_for(shared):  # noqa: F811
    waiting.register()
    _, relies = [waiting.begin() for _ in range(2)]
    [message] = shared.take()
    gate, heard = Gate(), []

    def tell():
        with transaction("orders"):
            heard.append(signal(relies, "approve", Approved(by="bob"), key="1"))
            gate.wait_here()

    def take_up():
        gate.when_reached()
        shared.run_chain(message)
        heard.append(row(relies).cursor)
        gate.open()

    assert raised(together(tell, take_up)) == []
    assert heard == [Signaled.KEPT, 0], "passed by, since the signal held its row"
    assert [saga_id for saga_id, _ in sent(shared)] == [str(relies)]


def test_a_row_that_is_held_does_not_draw_one_worker_after_the_other(shared):  # noqa: F811
    [stuck] = begin(1)
    shared.take()
    drawn = []
    with held(stuck):
        for _ in range(3):
            donekeys.client().flushdb()  # the last message was taken up
            [own] = begin(1)
            shared.take()
            forward(own)
            drawn += sent(shared)

    assert str(stuck) not in dict(drawn)


def test_a_saga_whose_row_is_held_while_its_batch_gives_it_back_is_waited_for(shared, settings):  # noqa: F811
    _, second = begin(2)
    message, gates, holding = spent_batch(shared, settings, second)
    worker = threading.Thread(
        target=lambda: (shared.run_chain(message), connections.close_all()), daemon=True
    )
    worker.start()
    until_somebody_waits_for_a_lock()
    gates[0].open()
    worker.join(PATIENCE)
    holding.__exit__(None, None, None)

    assert (row(second).leased_until, row(second).attempts) == (None, 0)
    assert str(second) in dict(sent(shared))


def test_while_a_held_row_is_waited_for_the_others_are_rung_for(shared, settings):  # noqa: F811
    first, second, third = begin(3)
    message, gates, holding = spent_batch(shared, settings, second)
    worker = threading.Thread(
        target=lambda: (shared.run_chain(message), connections.close_all()), daemon=True
    )
    worker.start()
    until_somebody_waits_for_a_lock()
    rung = dict(sent(shared))
    gates[0].open()
    worker.join(PATIENCE)
    holding.__exit__(None, None, None)

    assert rung.keys() == {str(first), str(third)}


def test_whoever_holds_a_row_for_long_keeps_no_other_one_leased_that_was_held(shared, settings):  # noqa: F811
    _, *others = begin(3)
    second, third = sorted(others)  # ids of one millisecond are in no order
    message, _, holding = spent_batch(shared, settings, second)
    briefly = held(third)
    gate = briefly.__enter__()
    worker = threading.Thread(target=lambda: run_impatiently(shared, message), daemon=True)
    worker.start()
    until_somebody_waits_for_a_lock()
    gate.open()
    briefly.__exit__(None, None, None)
    worker.join(PATIENCE)
    holding.__exit__(None, None, None)

    assert [row(saga_id).leased_until is None for saga_id in (second, third)] == [False, True]
    assert str(third) in dict(sent(shared))


def run_impatiently(shared, message):  # noqa: F811
    with short_patience(1500):
        shared.run_chain(message)
    connections.close_all()


def test_a_message_that_is_broken_off_rings_for_those_who_relied_on_it(shared):  # noqa: F811
    own, relies = begin(2)
    shared.take()
    with held(own), short_patience(), pytest.raises(OperationalError):
        forward(own)

    assert sent(shared) == [(str(relies), (1, 4, False, "orders.trial/1"))]


def test_an_act_that_is_refused_rings_for_the_saga_whose_row_it_held(shared):  # noqa: F811
    """Another operator has resumed it: it is fresh, and its message goes to another one."""
    own, acted_on = begin(2)
    [message] = shared.take()
    gate, heard = Gate(), []

    def stop(name, detail):
        if (name, detail) == ("act.before_commit", "compensate"):
            gate.wait_here()

    def press():
        seen = Seen(way="forward", step="take", token=7)
        heard.append(compensate(acted_on, by="olga", reason="no", seen=seen))

    def take_up():
        gate.when_reached()
        shared.run_chain(message)
        shared.take()
        heard.append(row(acted_on).cursor)
        gate.open()

    with failpoints.listening(stop):
        assert raised(together(press, take_up)) == []
    assert heard == [1, False], "passed by, since the act held its row"
    assert row(own).status == "completed"
    assert [saga_id for saga_id, _ in sent(shared)] == [str(acted_on)]


def test_a_sweep_that_waits_for_a_held_row_in_vain_rings_for_the_others(shared):  # noqa: F811
    """Somebody has waited for the sweep itself, and holds the row when it wants to turn it."""
    overdue, other = begin(2)
    shared.take()
    donekeys.client().flushdb()
    for saga_id in (overdue, other):
        make_due(saga_id)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET deadline_at = started_at, due_at = due_at - interval '1 minute'"
            " WHERE id = %s",
            [overdue],
        )
    holding, gates = held(overdue), []

    def hold(name, _):
        if name == "sweep.claimed" and not gates:
            gates.append(holding.__enter__())

    with failpoints.listening(hold), short_patience(), pytest.raises(OperationalError):
        sweep()
    holding.__exit__(None, None, None)

    assert row(overdue).status == "running"
    assert [saga_id for saga_id, _ in sent(shared)] == [str(other)]


def test_a_saga_whose_row_is_held_for_long_keeps_its_lease_and_nobody_elses(
    shared,  # noqa: F811
    settings,
    caplog,
):
    first, second, third = begin(3)
    message, _, holding = spent_batch(shared, settings, second)
    with short_patience():
        shared.run_chain(message)
    holding.__exit__(None, None, None)

    assert "batch_held" in {record.message for record in caplog.records}
    assert row(second).leased_until is not None
    assert [row(saga_id).leased_until for saga_id in (first, third)] == [None, None]
    assert {str(first), str(third)} == dict(sent(shared)).keys()


@contextmanager
def lost(at, trouble=None):
    """Let the database go away, and what is to be told of it be another's word."""

    def lose(name, _):
        if name == at:
            connection.connection.close()
            if trouble is not None:
                raise trouble

    try:
        with failpoints.listening(lose):
            yield
    finally:
        connection.close()


def test_what_has_broken_a_message_off_is_told_though_nobody_can_be_rung_for(shared):  # noqa: F811
    [own] = begin(1)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    with held(own), lost("batch.ended"), pytest.raises(OperationalError, match="lock"):
        forward(own)


def test_what_has_broken_a_batch_off_is_told_though_nobody_can_be_given_back(shared):  # noqa: F811
    own, _ = begin(2)
    with lost("step.committed", KeyError("the first")), pytest.raises(KeyError, match="the first"):
        forward(own)
