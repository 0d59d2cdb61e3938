import struct

import pytest

from sagas.outbox import pgoutput
from sagas.outbox.pgoutput import Begin, Commit, Insert, Relation, UnreadableLog

BEGIN = b"B" + struct.pack("!qqI", 1, 2, 4_000_000_000)
COMMIT = b"C" + struct.pack("!BqQq", 0, 1, (0xAB << 32) + 0x1F, 2)
RELATION = (
    b"R"
    + struct.pack("!I", 77)
    + b"orders\0orders_outbox\0d"
    + struct.pack("!H", 2)
    + b"\x01position\0"
    + struct.pack("!Ii", 20, -1)
    + b"\x00type\0"
    + struct.pack("!Ii", 25, -1)
)
INSERT = (
    b"I"
    + struct.pack("!I", 77)
    + b"N"
    + struct.pack("!H", 2)
    + b"t"
    + struct.pack("!I", 2)
    + b"12n"
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN, Begin(xid=4_000_000_000)),
        (COMMIT, Commit(end="AB/1F")),
        (RELATION, Relation(oid=77, table="orders_outbox", columns=("position", "type"))),
        (INSERT, Insert(oid=77, values=("12", None))),
        (b"Y whatever", None),
        (b"O whatever", None),
    ],
)
def test_a_message_is_read(data, message):
    assert pgoutput.read(data) == message


@pytest.mark.parametrize("data", [b"", b"U...", b"D...", b"T...", b"M...", b"S..."])
def test_a_message_that_a_publication_of_inserts_does_not_send_is_refused(data):
    with pytest.raises(UnreadableLog, match="kind"):
        pgoutput.read(data)


@pytest.mark.parametrize("data", [BEGIN, COMMIT, RELATION, INSERT])
def test_a_torn_message_is_refused_wherever_it_is_torn(data):
    for length in range(1, len(data)):
        with pytest.raises(UnreadableLog, match="torn"):
            pgoutput.read(data[:length])


def test_a_value_that_is_neither_text_nor_nothing_is_refused():
    with pytest.raises(UnreadableLog):
        pgoutput.read(INSERT[:-1] + b"u")


def test_a_row_without_a_new_version_is_refused():
    with pytest.raises(UnreadableLog):
        pgoutput.read(INSERT.replace(b"N", b"K", 1))
