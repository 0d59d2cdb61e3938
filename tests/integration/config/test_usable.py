import psycopg
import pytest
from django.db import connection

from tests.processes import eventually, test_database_url


@pytest.fixture
def own(committed_db):
    connection.close()
    connection.ensure_connection()
    yield connection
    connection.close()


def cut(pid):
    with psycopg.connect(test_database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])


def test_a_silent_connection_is_usable_and_nobody_is_asked(own, monkeypatch):
    asked = []
    monkeypatch.setattr(own.connection, "cursor", lambda: asked.append(True))

    assert own.is_usable()
    assert asked == []


def test_a_connection_that_the_server_has_cut_is_not_usable(own):
    pid = own.connection.info.backend_pid
    cut(pid)

    eventually(lambda: not own.is_usable(), 30, "the cut is seen")


def test_a_connection_with_a_notice_to_read_is_asked_and_usable(own):
    own.connection.execute("LISTEN bell")
    own.connection.commit()
    with psycopg.connect(test_database_url(), autocommit=True) as other:
        other.execute("NOTIFY bell")

    assert own.is_usable()


def test_a_closed_connection_is_not_usable(own):
    own.connection.close()

    assert not own.is_usable()


def test_a_connection_that_still_waits_for_an_answer_is_not_usable(own):
    own.connection.pgconn.send_query(b"SELECT pg_sleep(5)")  # as a soft time limit leaves it

    assert not own.is_usable()
