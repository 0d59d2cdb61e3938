import json
import uuid

import pytest
from django.conf import settings

from config.bench.outcome import Wrong
from config.bench.peers import beside
from config.bench.peers.transport import STREAM, Connection, client
from tests.processes import ROOT


@pytest.fixture
def python(tmp_path):
    """The Python of an environment, which answers as it is told."""

    def make(answer, *, code=0):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho '{answer}'\necho 'went wrong' >&2\nexit {code}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def kept(monkeypatch):
    """The connection of the transport, to the server of the tests."""
    monkeypatch.setenv("REDIS_URL", settings.REDIS_URL)
    client.cache_clear()
    client().delete(STREAM)
    yield client()
    client().delete(STREAM)
    client.cache_clear()


def test_a_library_whose_events_are_not_in_the_stream_is_not_measured(python):
    peer = beside.Peer(python('{"seconds": 1, "cpu": 1, "left": 0}'), "django-jaiminho")

    with pytest.raises(Wrong, match="django-jaiminho: 0 of 5 are there, 0 wait"):
        peer.drain(5)


def test_a_library_that_has_not_marked_its_events_is_not_measured(python):
    peer = beside.Peer(python('{"seconds": 1, "cpu": 1, "left": 2}'), "django-jaiminho")

    with pytest.raises(Wrong, match="2 wait"):
        peer.drain(5)


def test_a_process_that_fails_ends_the_measurement_with_what_it_wrote(python):
    peer = beside.Peer(python("{}", code=3), "django-outbox-pattern")

    with pytest.raises(Wrong, match="django-outbox-pattern: went wrong"):
        peer.drain(5)


def test_an_event_that_never_comes_ends_the_measurement(python, monkeypatch):
    monkeypatch.setattr(beside, "PATIENCE", 0.0)
    told = json.dumps({str(uuid.UUID(int=1)): 1.0})
    peer = beside.Peer(python(told), "django-outbox-pattern")

    with pytest.raises(Wrong, match="1 of 1 events did not come"):
        peer.latency(1, 100.0)


def test_what_stands_for_stomp_writes_one_entry_an_event(kept):
    link = Connection(host_and_ports=[])

    link.send(body='{"id": "an id", "text": "some"}', destination="bench", headers={})
    link.disconnect()

    assert link.is_connected()
    assert [fields for _, fields in kept.xrange(STREAM)] == [{b"id": b"an id", b"payload": b"some"}]


def test_without_their_environment_the_table_says_how_to_get_it(settings, tmp_path):
    settings.BASE_DIR = tmp_path

    assert beside.interpreter() is None
    lines = "\n".join(beside.table({"peers": None}))
    assert "python3 -m venv var/peers" in lines
    assert "pip install --require-hashes -r config/requirements-bench.txt" in lines
    assert (ROOT / beside.LOCK).exists()


def test_with_it_each_library_has_a_line_beside_ours():
    one = {"per_second": 10.0, "relay_cpu_us": 2.0, "p50_ms": 3.0, "p99_ms": 4.0}
    lines = beside.table(
        {"peers": {"events": 7, "libraries": {"ours": one, "django-jaiminho": one}}}
    )

    assert "7 events to a stream" in lines[1]
    assert [line.split() for line in lines[2:]] == [
        ["ours", "10", "2", "3", "4"],
        ["django-jaiminho", "10", "2", "3", "4"],
    ]


@pytest.mark.long
@pytest.mark.timeout(120)
def test_both_libraries_publish_every_event_in_the_same_run(committed_db):
    python = beside.interpreter()
    if python is None:
        pytest.skip(beside.MISSING)

    found = beside.measure(python, events=20, singles=5, rate=50.0, say=lambda _: None)

    assert found.keys() == set(beside.LIBRARIES)
    assert all(value > 0 for one in found.values() for value in one.values())
