import pytest
from django.core.exceptions import ImproperlyConfigured

from config.database import database_name, database_settings, with_name


def test_an_address_is_read_as_libpq_reads_it():
    found = database_settings(
        "DATABASE_URL",
        "postgresql://shop:s%40cret@db.example:6432/con%2Bcord?sslmode=require",
        max_age=5,
    )

    assert (found["NAME"], found["USER"], found["PASSWORD"]) == ("con+cord", "shop", "s@cret")
    assert (found["HOST"], found["PORT"]) == ("db.example", "6432")
    assert found["OPTIONS"]["sslmode"] == "require"
    assert found["CONN_MAX_AGE"] == 5


def test_a_socket_directory_may_hold_any_character():
    found = database_settings("X", "postgresql://a@/a?host=/tmp/with%20space%2Bplus", max_age=0)

    assert found["HOST"] == "/tmp/with space+plus"


def test_a_session_is_not_limited_by_startup_options_which_poolers_refuse():
    assert "options" not in database_settings("X", "postgresql://h/d", max_age=0)["OPTIONS"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://h/d", "DATABASE_URL has to be an address of PostgreSQL"),
        ("postgresql://h/", "DATABASE_URL names no database"),
        ("postgresql://h/d?nonsense=1", "DATABASE_URL is no address of PostgreSQL"),
    ],
)
def test_an_address_that_cannot_work_is_refused_by_name(url, why):
    with pytest.raises(ImproperlyConfigured, match=why):
        database_settings("DATABASE_URL", url, max_age=0)


def test_another_database_on_the_same_server():
    url = "postgresql://concord@/concord?host=%2Fvar%2Frun"

    assert (
        with_name(url, "test concord") == "postgresql://concord@/test%20concord?host=%2Fvar%2Frun"
    )
    assert database_name(with_name(url, "test concord")) == "test concord"
