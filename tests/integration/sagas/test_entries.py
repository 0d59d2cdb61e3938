"""Entries of a stream: the bytes that the client would send, all of them carried out or none."""

import pytest
import redis
from django.conf import settings
from redis.connection import AbstractConnection, Connection

from sagas.outbox.entries import Entries, send

STREAM = "trial-entries"
REFUSED = b"*1\r\n$4\r\nXADD\r\n"


@pytest.fixture
def client():
    with redis.Redis.from_url(settings.REDIS_URL, decode_responses=True) as found:
        found.delete(STREAM)
        yield found
        found.delete(STREAM)


def entry(*values, fields=("id", "payload"), own=None):
    return Entries(STREAM, 1000, own or {"producer": "orders"}, fields).command(values)


def kept(client):
    return [fields for _, fields in client.xrange(STREAM)]


@pytest.mark.parametrize(
    "values",
    [
        ("an id", '{"text": "hello"}'),
        ("", ""),
        ("7", "-1"),
        ("100 %", "%b %d %%"),
        ("naïve", "日本 \U0001f642"),
        ("line\r\nbreak", "$3\r\nfoo\r\n"),
    ],
)
def test_an_entry_is_in_the_bytes_that_the_client_would_send(values):
    words = ["producer%", "orders %d", "id", values[0], "pay%load", values[1]]
    theirs = Connection().pack_command("XADD", STREAM, "MAXLEN", "~", 1000, "*", *words)

    ours = entry(*values, fields=("id", "pay%load"), own={"producer%": "orders %d"})
    assert ours == b"".join(theirs)


def test_all_of_them_are_there_in_their_order(client):
    send(client, [entry(str(number), "x") for number in range(300)])

    assert [int(fields["id"]) for fields in kept(client)] == list(range(300))
    assert kept(client)[0] == {"producer": "orders", "id": "0", "payload": "x"}


def test_when_one_is_refused_none_is_there_and_the_next_ones_get_through(client):
    with pytest.raises(redis.ResponseError):
        send(client, [entry("1", "x"), REFUSED, entry("2", "x")])
    assert kept(client) == []

    send(client, [entry("3", "x")])
    assert [fields["id"] for fields in kept(client)] == ["3"]


def test_what_fails_only_when_it_is_carried_out_is_raised_and_the_next_ones_get_through(client):
    client.set(STREAM, "no stream")
    with pytest.raises(redis.ResponseError, match="wrong kind"):
        send(client, [entry("1", "x"), entry("2", "x")])
    client.delete(STREAM)

    send(client, [entry("3", "x")])
    assert [fields["id"] for fields in kept(client)] == ["3"]


def test_a_connection_of_which_not_all_was_read_is_not_used_again(client, monkeypatch):
    assert client.ping()
    theirs, asked = AbstractConnection.read_response, []

    def read_response(connection, *arguments, **options):
        asked.append(connection)
        if len(asked) == 2:
            raise redis.TimeoutError
        return theirs(connection, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(AbstractConnection, "read_response", read_response)
        with pytest.raises(redis.TimeoutError):
            send(client, [entry("1", "x")])

    assert asked[0]._sock is None
    assert client.ping() is True  # and not what was left unread
    send(client, [entry("2", "x")])
    assert [fields["id"] for fields in kept(client)][-1] == "2"
