"""Entries of a stream in the bytes that Redis reads, many of them in one transaction.

The client's own way takes 18 microseconds to put the 33 parts of an entry into bytes, and of those
only eleven differ from one entry to the next.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import redis

_MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"


class Entries:
    """Entries with the same fields, for one stream."""

    def __init__(
        self, stream: str, length: int, own: dict[str, str], fields: Sequence[str]
    ) -> None:
        """Write down once what is the same in each.

        :param length: entries of the stream that are kept, roughly
        :param own: fields that have the same value in each
        """
        words = ["XADD", stream, "MAXLEN", "~", str(length), "*"]
        words += [word for field in own.items() for word in field]
        head = b"*%d\r\n" % (len(words) + 2 * len(fields)) + b"".join(map(_part, words))
        names = [_part(field) for field in fields]
        self._form = head.replace(b"%", b"%%") + b"".join(
            name.replace(b"%", b"%%") + b"$%d\r\n%b\r\n" for name in names
        )

    def command(self, values: Iterable[str]) -> bytes:
        """Return the command that appends one entry."""
        told: list[int | bytes] = []
        for value in values:
            text = value.encode()
            told += (len(text), text)
        return self._form % tuple(told)


def _part(word: str) -> bytes:
    text = word.encode()
    return b"$%d\r\n%b\r\n" % (len(text), text)


def send(client: redis.Redis, commands: Sequence[bytes]) -> None:
    """Have Redis carry out all of these or none.

    Nothing is sent a second time. A connection on which not everything was read is closed.

    :raises redis.RedisError: if it refuses one of them or cannot be reached; some may have been
        carried out all the same
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    read = False
    try:
        connection.send_packed_command([b"".join((_MULTI, *commands, _EXEC))])
        for _ in range(len(commands) + 1):
            connection.read_response()  # one that is refused here has the whole refused
        answers = connection.read_response()
        read = True
    finally:
        if not read:
            connection.disconnect()
        pool.release(connection)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
