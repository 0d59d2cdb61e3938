import json
import os
import subprocess
import sys

import pytest
from django.db import connection

from tests.processes import ROOT, process_environment

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

FIGURES = {"per_cpu_second", "per_second", "p50_ms", "p99_ms", "commits", "wal_bytes"}
TINY = ("--sagas", "6", "--rounds", "2", "--singles", "4", "--warm-up", "2")


OF_THE_TESTS = {"DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"}


def bench(*arguments, own=False):
    """Run the command, on the servers of the tests or on some of its own."""
    environment = {**os.environ, **process_environment(), "CONCORD_PROFILE": ""}
    if own:
        environment = {name: environment[name] for name in environment.keys() - OF_THE_TESTS}
    return subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def engine_tables(committed_db):
    """The command empties nothing on servers that are not its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sagas_saga")
        assert cursor.fetchone() == (0,)
    return connection


@pytest.mark.parametrize("steps", ["raw", "orm"])
def test_both_sides_are_measured_and_every_saga_is_verified(engine_tables, steps):
    done = bench("saga", "--against", "celery", "--steps", steps, "--json", *TINY)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["verified"] is True
    assert (found["steps"], found["rounds"], found["sagas"]) == (steps, 2, 6)
    for measured in (found, found["failing"]):
        for side in ("ours", "against"):
            assert measured[side].keys() > FIGURES
            assert all(measured[side][name] > 0 for name in FIGURES)
            assert {"workers", "postgresql", "valkey", "driver"} <= measured[side]["cpu_ms"].keys()
        assert measured["ratio"].keys() == FIGURES
    assert found["ours"]["commits"] >= 6
    assert found["against"]["commits"] >= 4


def test_nothing_of_its_own_is_left_behind_but_the_sagas(engine_tables):
    done = bench("saga", "--only", "succeeding", "--json", *TINY)

    assert done.returncode == 0, done.stderr
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'bench%'")
        assert cursor.fetchall() == []
        # Warm-up, two rounds, latency.
        cursor.execute("SELECT status, count(*) FROM sagas_saga GROUP BY status")
        assert cursor.fetchall() == [("completed", 2 + 2 * 6 + 4)]


def test_many_events_through_the_tables_leave_no_row_behind():
    done = bench("outbox", "--soak", "300", "--json", own=True)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["soak"]
    assert found["events"] == 300
    assert found["wal_bytes"] > 0
    assert [found["rows_left"][name] for name in ("orders_outbox", "orders_streamdue")] == [0, 0]


def test_a_system_at_work_is_not_measured(engine_tables):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sagas_saga (id, name, def_version, key, status, past_return, cursor,"
            " last_step, state, fencing_token, attempts, hints, pending, due_at, deadline_at,"
            " correlation_id) VALUES (gen_random_uuid(), 'orders.x', 1, 'k', 'running', false, 0,"
            " 3, '{}', 0, 0, 0, 0, now(), now(), 'c')"
        )
    done = bench("saga", "--json", *TINY)

    assert done.returncode == 1
    assert "1 sagas are unfinished" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("saga", "--sagas", "0"),
        ("saga", "--stored", "-1"),
        ("saga", "--stored", "5"),
        ("outbox",),
        ("nothing",),
        (),
    ],
)
def test_wrong_use_ends_with_two(arguments):
    assert bench(*arguments).returncode == 2


def test_the_help_says_how_to_read_the_figures():
    done = bench("--help")

    assert done.returncode == 0
    assert "how to read the result" in done.stdout
