"""Messages that nobody can carry out are kept with their bytes and the reason, for a person.

Whoever finds one is mostly the parent of a worker, which forks and must not hold a connection: it
opens one, writes one statement and closes it. All of this is best effort and raises nothing. When
the database is away the message is in the log alone, and for a moment nobody knocks again, so that
a flood of rubbish does not make the parent wait once for each.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from django.db import InterfaceError, OperationalError

from sagas.error_texts import storable, text_of
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.transactions import ENGINE, connection_of

log = logging.getLogger(__name__)

BODY: Final = 65_536
"""Bytes of a body that are kept."""
HEADERS: Final = 8_192
TEXT: Final = 500
MOST: Final = 1000
"""Rows that wait for a person; what else comes is in the log alone."""
PAUSE: Final = 5.0
"""Seconds for which a database that did not answer is left alone."""
CONNECT: Final = 2
"""Seconds that a worker's parent waits for a connection; libpq knows no shorter wait."""

_KEEP = """
INSERT INTO sagas_unreadable AS u
    (id, digest, queue, reason, content_type, content_encoding, headers, body, size)
SELECT %(id)s, %(digest)s, %(queue)s, %(reason)s, %(content_type)s, %(content_encoding)s,
    %(headers)s, %(body)s, %(size)s
WHERE (SELECT count(*) FROM sagas_unreadable WHERE discarded_at IS NULL) < %(most)s
    OR EXISTS (
        SELECT FROM sagas_unreadable WHERE digest = %(digest)s AND discarded_at IS NULL)
ON CONFLICT (digest) WHERE discarded_at IS NULL
DO UPDATE SET times = u.times + 1, last_at = clock_timestamp()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A message that cannot be read, as far as it is known."""

    queue: str
    body: bytes
    content_type: Any = ""
    content_encoding: Any = ""
    headers: Any = None
    alike: bytes | None = None
    """What two messages have in common that are one row; the body, unless that has more in it."""


class _Knocking:
    """When the database may be asked again, in this process."""

    after = 0.0


def keep(found: Found, reason: str) -> bool:
    """Write a message down with the reason and return whether that went well; raises nothing.

    Safe to repeat: what is like one that waits for a person is counted there.
    """
    outcome, error = "kept", None
    try:
        if monotonic() < _Knocking.after:
            outcome = "in the log alone: the database was away just now"
        elif not _write(_row(found, reason)):
            outcome = f"in the log alone: {MOST} others wait for an operator"
    except Exception as trouble:  # noqa: BLE001 - whatever it is would end the worker
        if isinstance(trouble, OperationalError | InterfaceError):
            _Knocking.after = monotonic() + PAUSE
        outcome, error = "in the log alone", text_of(trouble)[:TEXT]
    told = {"queue": _short(found.queue), "reason": _short(reason)}
    log.warning("message_unreadable", extra={**told, "outcome": outcome, "error": error})
    return outcome == "kept"


def _row(found: Found, reason: str) -> dict[str, Any]:
    queue, why = _short(found.queue), _short(reason)
    digest = hashlib.sha256(f"{queue}\0{why}\0".encode())
    digest.update(found.body if found.alike is None else found.alike)
    return {
        "id": uuid7(),
        "digest": digest.digest(),
        "queue": queue,
        "reason": why,
        "content_type": _short(found.content_type or ""),
        "content_encoding": _short(found.content_encoding or ""),
        "headers": _as_json(found.headers or {})[:HEADERS],
        "body": found.body[:BODY],
        "size": len(found.body),
        "most": MOST,
    }


def _write(row: dict[str, Any]) -> bool:
    # A copy is a connection of its own: outside of any transaction, and closed before a fork.
    connection = connection_of(ENGINE).copy()
    options = {**connection.settings_dict.get("OPTIONS", {}), "connect_timeout": CONNECT}
    options.pop("pool", None)
    connection.settings_dict["OPTIONS"] = options
    failpoint("unreadable.found")
    try:
        with connection.cursor() as cursor:
            cursor.execute(_KEEP, row)
            kept = bool(cursor.rowcount)
    finally:
        connection.close()
    failpoint("unreadable.kept")
    return kept


def _short(text: Any) -> str:
    return storable(text if isinstance(text, str) else repr(text))[:TEXT]


def _as_json(headers: Any) -> str:
    """Return headers as a text; JSON escapes what no text column holds."""
    try:
        return json.dumps(headers, default=repr)
    except (TypeError, ValueError, RecursionError):
        return f"{type(headers).__name__} that JSON cannot say"


def as_bytes(body: Any) -> bytes:
    """Return a body as bytes, whatever a transport has made of it."""
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    text = body if isinstance(body, str) else "" if body is None else repr(body)
    return text.encode(errors="backslashreplace")


def keep_unknown_task(*, message: Any, name: str, **_: Any) -> None:
    """Keep a message for a task that this release does not have; Celery tells of it."""
    keep(of_message(message), f"no task of this release has the name {name!r}")


def keep_rejected(*, message: Any, exc: BaseException | None, **_: Any) -> None:
    """Keep a message that is none of a task, or one that is wrong; Celery tells of it."""
    why = "it names no task" if exc is None else f"Celery cannot carry it out: {text_of(exc)}"
    keep(of_message(message), why)


def of_message(message: Any) -> Found:
    """Return what is known of a message that kombu has taken apart."""
    return Found(
        queue=str((message.delivery_info or {}).get("routing_key") or ""),
        body=as_bytes(message.body),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=message.headers,
    )
