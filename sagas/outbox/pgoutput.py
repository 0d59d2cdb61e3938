"""Reading what PostgreSQL's own output plugin says of the log: transactions and inserted rows.

The first version of its protocol, as far as a publication of inserts makes use of it: a
transaction begins, a table is described before its first row, a row was inserted, the transaction
has committed. Whatever else a server may send is refused, so that nothing is passed over unread.
"""

import struct
from dataclasses import dataclass

from sagas.core.errors import SagasError


class UnreadableLog(SagasError):
    """The log holds a message that a publication of inserts does not send, or a torn one."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction; what follows, up to its commit, belongs to it."""

    xid: int
    """The lower half of its number, as the log has it."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when the rows that follow were written."""

    oid: int
    table: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """A row that was inserted: its values as text, in the order of the table's columns."""

    oid: int
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a transaction, and the place in the log right behind it."""

    end: str


Message = Begin | Relation | Insert | Commit

# Described for the sake of subscribers: a type that is not built in, and where it came from.
PASSED_OVER = frozenset(b"YO")


def read(data: bytes) -> Message | None:
    """Read one message; None for one that says nothing of rows.

    :raises UnreadableLog: if it is no message of inserts
    """
    kind, rest = data[:1], _Bytes(data[1:])
    try:
        match kind:
            case b"B":
                rest.take("qq")  # where and when it commits
                return Begin(xid=rest.take("I"))
            case b"R":
                return _relation(rest)
            case b"I":
                return _insert(rest)
            case b"C":
                rest.take("Bq")  # flags, where the record of the commit begins
                end = rest.take("Q")
                rest.take("q")  # when
                return Commit(end=place(end))
    except (struct.error, UnicodeDecodeError, ValueError) as torn:
        raise UnreadableLog(f"a torn message of kind {kind!r}") from torn
    if kind and kind[0] in PASSED_OVER:
        return None
    raise UnreadableLog(f"a message of kind {kind!r}")


def place(number: int) -> str:
    """Write a place in the log as PostgreSQL does."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def _relation(rest: "_Bytes") -> Relation:
    oid = rest.take("I")
    rest.text()  # the schema
    table = rest.text()
    rest.take("B")  # the replica identity
    columns = []
    for _ in range(rest.take("H")):
        rest.take("B")  # whether it belongs to the key
        columns.append(rest.text())
        rest.take("Ii")  # its type
    return Relation(oid=oid, table=table, columns=tuple(columns))


def _insert(rest: "_Bytes") -> Insert:
    oid = rest.take("I")
    if rest.bytes(1) != b"N":
        raise ValueError("no new row")
    return Insert(oid=oid, values=tuple(_value(rest) for _ in range(rest.take("H"))))


def _value(rest: "_Bytes") -> str | None:
    match rest.bytes(1):
        case b"n":
            return None
        case b"t":
            return rest.bytes(rest.take("I")).decode()
    raise ValueError("neither text nor nothing")


class _Bytes:
    """A message that is read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> int:
        """Read numbers; return the last of them."""
        form = f"!{form}"
        found = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return int(found[-1])

    def bytes(self, count: int) -> bytes:
        """Read so many bytes."""
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError("it ends too early")
        self.at += count
        return found

    def text(self) -> str:
        """Read up to the next zero byte."""
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end]
        self.at = end + 1
        return found.decode()
