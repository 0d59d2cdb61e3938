import os
import shutil
import signal

import psycopg
import pytest
import redis

from config.embedded import DATABASE, Embedded
from tests.processes import eventually


@pytest.fixture
def embedded():
    made = Embedded(f"probe{os.getpid()}")
    assert made.lock()
    yield made
    made.stop()
    shutil.rmtree(made.dir)


def test_two_runs_never_share_an_instance(embedded):
    assert Embedded(embedded.dir.name).lock() is False


def test_an_instance_is_free_again_when_its_run_has_ended(embedded):
    embedded.stop()

    again = Embedded(embedded.dir.name)
    assert again.lock() is True
    again.stop()


def test_nobody_else_can_look_into_an_instance(embedded):
    assert embedded.dir.stat().st_mode & 0o777 == 0o700
    assert embedded.run.stat().st_mode & 0o777 == 0o700


def test_a_killed_postgresql_is_started_again_with_all_its_rows(embedded):
    embedded.start(redis=False)
    with psycopg.connect(embedded.database_url) as session:
        session.execute("CREATE TABLE kept AS SELECT 1 AS one")

    os.kill(embedded.processes["postgres"].pid, signal.SIGKILL)
    eventually(lambda: embedded.ended() == ["postgres"], 30, "PostgreSQL is gone")
    embedded.start(redis=False)

    with psycopg.connect(embedded.database_url) as session:
        assert session.execute("SELECT one FROM kept").fetchall() == [(1,)]
        assert session.execute("SELECT upper('é'), current_user").fetchone() == ("É", DATABASE)


def test_a_killed_valkey_keeps_its_messages(embedded):
    embedded.start(postgres=False)
    with redis.Redis.from_url(embedded.redis_url) as client:
        client.rpush("queue", "message")

    os.kill(embedded.processes["valkey"].pid, signal.SIGKILL)
    eventually(lambda: embedded.ended() == ["valkey"], 30, "Valkey is gone")
    embedded.start(postgres=False)

    with redis.Redis.from_url(embedded.redis_url) as client:
        assert client.lrange("queue", 0, -1) == [b"message"]


def test_a_path_that_is_too_long_for_a_socket_is_replaced_by_a_short_one():
    long = Embedded("x" * 120)

    assert len(str(long.run)) < 85
    assert str(os.geteuid()) in long.run.name
