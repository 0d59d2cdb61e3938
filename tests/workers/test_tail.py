"""The process `manage.py outbox tail`: it outlives what is away, and dies at every place."""

import signal

import pytest

from orders.models import Outbox
from sagas.outbox import slots
from tests.databases import rows
from tests.integration.sagas.news import a_teller, tell
from tests.processes import eventually


@pytest.fixture
def tailed(committed_db):
    for alias in slots.databases():
        slots.set_up(alias)
    yield
    for alias in slots.databases():
        # The server notices a moment later that a tailer which was killed reads no more.
        eventually(
            lambda alias=alias: not slots.look(alias).has_slot or slots.drop_slot(alias), LONG
        )
        slots.drop(alias)


LONG = 45  # for what is waited for; a busy machine needs some of it


def unmarked():
    return Outbox.objects.filter(published_at=None).count()


def start(processes, **env):
    running = processes.tail(env=env)
    processes.await_output(running, "tailing")
    return running


def test_it_publishes_what_is_committed_and_stops_when_it_is_told_to(tailed, processes):
    running = start(processes)
    tell(a_teller(), *"abc")

    eventually(lambda: unmarked() == 0, LONG, "everything is marked")
    assert processes.stop(running) == 0


@pytest.mark.parametrize(
    "place",
    ["tail.read", "relay.published", "relay.committed", "tail.handed_over", "tail.advanced"],
)
def test_killed_at_each_place_of_a_look_the_next_one_goes_on(tailed, processes, place):
    running = start(processes, CONCORD_FAILPOINTS=f"{place}=kill:1")
    tell(a_teller(), *"abc")
    assert eventually(running.process.poll, LONG, "it was killed") == -signal.SIGKILL

    start(processes)
    tell(a_teller(), "d")
    eventually(lambda: unmarked() == 0, LONG, "everything is marked")


def test_it_outlives_a_session_that_is_cut(tailed, processes):
    running = start(processes, PGAPPNAME="tailer")
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'tailer'"
    )
    eventually(lambda: rows(cut)[0][0] > 0, LONG, "its session is cut")
    tell(a_teller(), *"abc")

    eventually(lambda: unmarked() == 0, LONG, "everything is marked")
    assert running.alive
    assert "tail_away" in running.output()


def test_without_its_slot_it_ends_and_says_what_helps(tailed, processes):
    running = start(processes)
    for alias in slots.databases():
        eventually(lambda alias=alias: slots.drop_slot(alias), LONG, "the slot is dropped")

    assert eventually(running.process.poll, LONG, "it ends") == 1
    assert "outbox tail --setup" in running.output()
