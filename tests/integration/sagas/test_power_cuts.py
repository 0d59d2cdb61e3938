"""The server dies as in a power cut, with commits that have not reached the disk.

Its writer of the log is slowed down first, so that every commit that does not wait for the disk
is lost for certain, and not only perhaps.
"""

import os
import signal
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections

from sagas import failpoints
from sagas.api import (
    Cancellation,
    Rejected,
    Saga,
    begun,
    cancel,
    retriable,
    start,
    transaction,
    uuid7,
)
from sagas.core.keys import Direction
from sagas.orchestration import registry
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row
from tests.processes import eventually

pytestmark = [pytest.mark.colocated, pytest.mark.timeout(120)]


def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else None


def written_down():
    """Whether all that was committed so far is on the disk."""
    return run("SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()") == [(True,)]


def postmaster():
    return next(settings.EMBEDDED.dir.glob("pg*/postmaster.pid"), None)


@pytest.fixture
def saga_id(broker):
    """A saga that stands in front of ``take``, on a server with durable commits."""
    if postmaster() is None:
        pytest.skip("needs a PostgreSQL of its own, to kill it")
    begun = trial.begin()
    broker.take()
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    run(f"ALTER DATABASE {name} SET synchronous_commit = on")
    run("CHECKPOINT")  # what is read again after the cut is then only what comes from here on
    eventually(written_down, 20, "the writer of the log is awake, and has nothing to write")
    run("ALTER SYSTEM SET wal_writer_delay = '10s'")
    run("SELECT pg_reload_conf()")
    connections.close_all()
    eventually(lambda: run("SHOW wal_writer_delay") == [("10s",)], 20, "the writer is slow")
    yield begun
    connections.close_all()
    run("ALTER SYSTEM RESET wal_writer_delay")
    run("SELECT pg_reload_conf()")
    run(f"ALTER DATABASE {name} RESET synchronous_commit")
    connections.close_all()


def power_cut():
    os.kill(int(postmaster().read_text().split()[0]), signal.SIGQUIT)
    waiter = threading.Event()
    for _ in range(200):
        if postmaster() is None:
            return
        waiter.wait(0.05)
    raise AssertionError("the server is still there")


def power_comes_back():
    settings.EMBEDDED.start(fast=True)
    connections.close_all()


@contextmanager
def a_saga_of_two_retriable_steps():
    saga = Saga(
        name="orders.told",
        version=1,
        state=trial.TrialState,
        deadline=timedelta(minutes=5),
        steps=(
            begun("open", undo=trial.build_close),
            retriable("book", do=trial.build_book),
            retriable("take", do=trial.build_take),
        ),
    )
    registry.add(saga)
    started = uuid7()
    with transaction("orders"):
        start(saga, trial.TrialState(subject=started), key=str(started), saga_id=started)
    yield started
    del registry.SAGAS[saga.name, saga.version]


def at(place, detail, act):
    def listen(name, at_detail):
        if (name, at_detail) == (place, detail) and not done:
            done.append(name)
            act()

    done = []
    return failpoints.listening(listen)


def cut_at(place, detail, saga_id):
    """Run a link until the power goes at a place, and bring the server back."""
    with at(place, detail, power_cut), pytest.raises(OperationalError):
        run_link(saga_id, 1, 4, Direction.DO)
    power_comes_back()


def brought_to_its_end(broker, saga_id):
    broker.take()
    make_due(saga_id)
    assert sweep() == 1
    broker.drain()
    return row(saga_id).status


def test_a_step_that_had_not_reached_the_disk_is_lost_with_its_effect_and_done_again_once(
    broker, saga_id
):
    cut_at("step.committed", "take", saga_id)

    lost = row(saga_id)
    assert (lost.cursor, lost.attempts, lost.fencing_token) == (1, 1, 1)  # the claim is kept
    assert trial.effects(saga_id) == []
    assert trial.CALLS == []
    assert brought_to_its_end(broker, saga_id) == "completed"
    assert trial.effects(saga_id) == ["take", "hold", "capture", "book"]


def test_with_every_step_to_the_disk_it_is_not_lost(broker, saga_id, settings):
    settings.SAGAS = {**settings.SAGAS, "EVERY_STEP_TO_DISK": 1}
    cut_at("step.committed", "take", saga_id)

    assert row(saga_id).cursor == 2
    assert trial.effects(saga_id) == ["take"]
    assert brought_to_its_end(broker, saga_id) == "completed"
    assert trial.effects(saga_id) == ["take", "hold", "capture", "book"]


def test_before_a_call_everything_is_on_the_disk(broker, saga_id):
    trial.SCRIPT["hold"] = power_cut
    with pytest.raises(OperationalError):
        run_link(saga_id, 1, 4, Direction.DO)
    power_comes_back()

    assert row(saga_id).cursor == 2
    assert trial.effects(saga_id) == ["take"]
    trial.SCRIPT.clear()
    assert brought_to_its_end(broker, saga_id) == "completed"
    assert trial.effects(saga_id) == ["take", "hold", "capture", "book"]
    assert trial.CALLS == ["hold", "hold", "capture"]


def test_what_a_call_came_to_is_on_the_disk(broker, saga_id):
    cut_at("step.committed", "hold", saga_id)

    assert row(saga_id).cursor == 3
    assert trial.effects(saga_id) == ["take", "hold"]
    assert brought_to_its_end(broker, saga_id) == "completed"
    assert trial.CALLS == ["hold", "capture"]


def test_a_worker_that_knows_of_a_lost_step_cannot_go_on_from_it(broker, saga_id):
    """As behind a pooler, which connects again without a word."""

    def cut_and_back():
        power_cut()
        power_comes_back()

    with at("step.committed", "take", cut_and_back):
        assert run_link(saga_id, 1, 4, Direction.DO) is LinkEnd.STOPPED

    assert row(saga_id).cursor == 1
    assert trial.effects(saga_id) == []
    assert trial.CALLS == []
    assert brought_to_its_end(broker, saga_id) == "completed"
    assert trial.effects(saga_id) == ["take", "hold", "capture", "book"]


def test_a_compensation_that_had_not_reached_the_disk_is_done_again_once(broker, saga_id):
    def no():
        raise Rejected("no")

    trial.SCRIPT["capture"] = no
    cut_at("step.committed", "undo.take", saga_id)

    assert (row(saga_id).status, row(saga_id).cursor) == ("compensating", 1)
    assert trial.effects(saga_id) == ["take", "hold", "release"]
    assert brought_to_its_end(broker, saga_id) == "compensated"
    assert trial.effects(saga_id) == ["take", "hold", "release", "put_back", "close"]


def sold_out():
    raise Rejected("sold out")


def test_a_no_is_on_the_disk_before_anybody_can_be_told_of_it(broker, saga_id):
    told = []

    def ask_and_cut():
        told.append(cancel(saga_id, reason="changed my mind", by="customer"))
        power_cut()

    trial.SCRIPT["take"] = sold_out
    with at("reject.committed", "take", ask_and_cut), pytest.raises(OperationalError):
        run_link(saga_id, 1, 4, Direction.DO)
    power_comes_back()
    trial.SCRIPT.clear()  # meanwhile somebody has given the goods back

    assert told == [Cancellation.FINISHED]
    kept = row(saga_id)
    assert (kept.status, kept.failure, kept.fencing_token) == ("compensating", "sold out", 2)
    assert brought_to_its_end(broker, saga_id) == "compensated"
    assert trial.effects(saga_id) == ["close"]


def test_what_is_past_the_return_is_on_the_disk(broker, saga_id):
    """Two retriable steps follow each other at once; the first may be told to a customer."""
    with a_saga_of_two_retriable_steps() as other:
        broker.take()
        with at("step.committed", "book", power_cut), pytest.raises(OperationalError):
            run_link(other, 1, 2, Direction.DO)
        power_comes_back()

        assert (row(other).cursor, row(other).past_return) == (2, True)
        assert trial.effects(other) == ["book"]


def test_with_a_context_in_a_database_of_its_own_no_commit_is_deferred(broker, saga_id, settings):
    settings.CONTEXT_DATABASES = {"elsewhere": "default"}
    cut_at("step.committed", "take", saga_id)

    assert row(saga_id).cursor == 2
    assert trial.effects(saga_id) == ["take"]
