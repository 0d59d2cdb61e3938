"""The process `manage.py outbox stream`: it outlives what is away, and dies at every place."""

import signal
import subprocess
from contextlib import contextmanager, suppress

import psutil
import pytest
import redis
from django.conf import settings as project

from config.binaries import valkey_binary
from tests.databases import rows
from tests.integration.sagas.news import a_teller, tell
from tests.processes import eventually
from tests.together import raised, together

NAME = "trial-events"
PLACES = ["stream.selected", "stream.published", "stream.committed"]


@pytest.fixture
def address(settings, committed_db):
    url, _, query = project.REDIS_URL.partition("?")
    settings.RELAY_STREAM = f"{url}/{NAME}?{query}" if query else f"{url}/{NAME}"
    with redis.Redis.from_url(project.REDIS_URL) as client:
        client.delete(NAME)
        yield settings.RELAY_STREAM
        client.delete(NAME)


@pytest.fixture
def on(address):
    return {"RELAY_STREAM": address}


def entries(url=project.REDIS_URL):
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return [(each["aggregateid"], int(each["sequence"])) for _, each in client.xrange(NAME)]


def first_times(found):
    """What a reader takes that keeps one number an aggregate."""
    seen, taken = {}, []
    for aggregate, number in found:
        if number > seen.get(aggregate, 0):
            seen[aggregate] = number
            taken.append((aggregate, number))
    return taken


def due():
    return rows("SELECT count(*) FROM orders_streamdue")[0][0]


def numbers(teller, count):
    return [(str(teller.id), number) for number in range(1, count + 1)]


@contextmanager
def a_valkey_of_its_own(tmp_path):
    """A server that can be taken away, in front of which nothing else stands."""
    path = tmp_path / "own.sock"
    command = [valkey_binary(), "--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path)]
    server = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
    with redis.Redis.from_url(f"unix://{path}?db=0") as client:

        def answers():
            with suppress(redis.RedisError):
                return client.ping()

        try:
            eventually(answers, 30, "it answers")
            yield server, f"unix://{path}?db=0"
        finally:
            server.kill()
            server.wait(10)


def test_it_streams_what_is_committed_and_stops_when_it_is_told_to(on, processes):
    running = processes.stream(env=on)
    teller = a_teller()
    tell(teller, *"abc")

    eventually(lambda: entries() == numbers(teller, 3), 30, "everything is there")
    eventually(lambda: due() == 0, 30, "nothing is due any more")
    assert processes.stop(running) == 0


def test_without_a_stream_it_ends_and_says_why(committed_db, processes):
    running = processes._start("stream", ["manage.py", "outbox", "stream"], {"RELAY_STREAM": ""})

    assert eventually(running.process.poll, 30, "it ends") == 2
    assert "RELAY_STREAM is not set" in running.output()


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_place_the_next_one_goes_on(on, processes, place):
    running = processes.stream(env={**on, "CONCORD_FAILPOINTS": f"{place}=kill:1"})
    teller = a_teller()
    tell(teller, *"abc")
    assert eventually(running.process.poll, 30, "it was killed") == -signal.SIGKILL

    processes.stream(env=on)
    tell(teller, "d")
    eventually(lambda: due() == 0, 30, "nothing is due any more")
    assert first_times(entries()) == numbers(teller, 4)
    assert (len(entries()) > 4) is (place == "stream.published")


@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_place_the_relay_goes_on(on, processes, place):
    running = processes.stream(env={**on, "CONCORD_FAILPOINTS": f"{place}=kill:1"})
    teller = a_teller()
    tell(teller, *"abc")
    assert eventually(running.process.poll, 30, "it was killed") == -signal.SIGKILL

    processes.worker(env=on)
    processes.beat(env=on)
    eventually(lambda: due() == 0, 30, "nothing is due any more")
    assert first_times(entries()) == numbers(teller, 3)


def test_a_ring_that_was_lost_is_not_needed(on, processes, monkeypatch):
    processes.stream(env=on)
    monkeypatch.setattr("sagas.outbox.bell.ring", lambda _: None)
    teller = a_teller()
    tell(teller, "hello")

    eventually(lambda: entries() == numbers(teller, 1), 30, "it is there all the same")


def test_several_beside_a_worker_stream_every_event_once_and_in_order(on, processes):
    for _ in range(3):
        processes.stream(env=on)
    processes.worker(env=on)
    processes.beat(env=on)
    tellers = [a_teller() for _ in range(4)]

    def writer(teller):
        return lambda: [tell(teller, str(number)) for number in range(50)]

    assert raised(together(*[writer(teller) for teller in tellers])) == []
    eventually(lambda: due() == 0, 30, "nothing is due any more")
    found = entries()
    for teller in tellers:
        own = [pair for pair in found if pair[0] == str(teller.id)]
        assert first_times(own) == numbers(teller, 50)


def test_one_that_froze_in_the_middle_is_not_waited_for_longer_than_its_lease(on, processes):
    frozen = processes.stream(env={**on, "CONCORD_FAILPOINTS": "stream.selected=stop:1"})
    teller = a_teller()
    tell(teller, *"abc")
    stands = psutil.Process(frozen.pid)
    eventually(lambda: stands.status() == psutil.STATUS_STOPPED, 30, "it has taken them")

    processes.stream(env=on)
    eventually(lambda: due() == 0, 30, "another has done it")
    processes.thaw(frozen)
    tell(teller, "d")
    eventually(lambda: due() == 0, 30, "nothing is due any more")
    assert first_times(entries()) == numbers(teller, 4)


def test_it_outlives_a_session_that_is_cut(on, processes):
    running = processes.stream(env={**on, "PGAPPNAME": "streamer"})
    cut = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'streamer'"
    )
    eventually(lambda: rows(cut)[0][0] > 0, 30, "its session is cut")
    teller = a_teller()
    tell(teller, *"abc")

    eventually(lambda: entries() == numbers(teller, 3), 30, "everything is there")
    assert running.alive
    assert "stream_database_away" in running.output()


def test_it_outlives_the_redis_of_the_rings(on, processes, tmp_path):
    with a_valkey_of_its_own(tmp_path) as (server, url):
        running = processes.stream(env={**on, "REDIS_URL": url})
        server.kill()
        eventually(lambda: "stream_bell_away" in running.output(), 30, "it has noticed")
        teller = a_teller()
        tell(teller, *"abc")
        eventually(lambda: entries() == numbers(teller, 3), 30, "everything is there")
        assert running.alive


def test_it_outlives_the_redis_of_the_stream(processes, settings, committed_db, tmp_path):
    with a_valkey_of_its_own(tmp_path) as (server, url):
        path, _, query = url.partition("?")
        settings.RELAY_STREAM = f"{path}/{NAME}?{query}"
        running = processes.stream(env={"RELAY_STREAM": settings.RELAY_STREAM})
        server.kill()
        server.wait(10)
        teller = a_teller()
        tell(teller, *"abc")
        eventually(lambda: "stream_unreached" in running.output(), 30, "it has noticed")
    with a_valkey_of_its_own(tmp_path) as (_, url):
        eventually(lambda: entries(url) == numbers(teller, 3), 30, "everything is there")
        eventually(lambda: due() == 0, 30, "nothing is due any more")
        assert running.alive
