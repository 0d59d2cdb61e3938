"""Signals: what the world says to one saga, kept as rows until its saga gets there.

See Note [First the row, then the signals] in ``waits.py``.
"""

import dataclasses
import json
import logging
from enum import Enum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from sagas.conf import conf
from sagas.core import codec
from sagas.core.definition import Saga
from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.core.waits import SignalAwaited
from sagas.error_texts import storable
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.models.operator_action import OperatorAction
from sagas.models.saga import SagaInstance, Status
from sagas.models.signal import Signal
from sagas.orchestration import canvas, requests, versions
from sagas.orchestration.starting import LONGEST_KEY
from sagas.orchestration.status import NoSuchSaga
from sagas.orchestration.store import engine_cursor
from sagas.reasons import UnfitText, refuse_unfit, refuse_untold
from sagas.sometimes import sometimes
from sagas.transactions import ENGINE, after_commit, current_context, is_detached, transaction

log = logging.getLogger(__name__)


class Signaled(Enum):
    """What has become of a signal."""

    DELIVERED = "delivered"
    """The saga waits for it, and goes on."""
    KEPT = "kept"
    """The saga does not wait for it yet, or is parked; it is there when it does."""
    DUPLICATE = "duplicate"
    """A signal of this name has come under this key before; nothing was changed."""
    TOO_LATE = "too_late"
    """The saga has gone past the step that listens, or another signal is before it; kept for the
    record."""
    FINISHED = "finished"
    """The saga has ended, or compensates; nothing was kept."""
    ASKED = "asked"
    """The engine hears of it as soon as the caller's transaction commits, in another database."""


class UnknownSignal(SagasError):
    """The saga listens to no signal of this name."""


class UnfitPayload(SagasError):
    """The payload of a signal is not of the type that the saga waits for."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A signal that waits for its saga."""

    id: UUID
    key: str
    payload: Any


_LOCK = """
SELECT name, def_version, fingerprint, last_step, status, cursor, waiting_for,
    parked_at IS NOT NULL, traceparent, leased_until IS NULL AND not_before IS NULL
        AND parked_at IS NULL AND pending = 0
FROM sagas_saga WHERE id = %(id)s FOR UPDATE
"""

# The same signal, else one that the step will consume in place of this one.
_KNOWN = """
SELECT key = %(key)s FROM sagas_signal WHERE saga_id = %(id)s AND name = %(name)s
    AND (key = %(key)s OR consumed_at IS NULL)
ORDER BY key = %(key)s DESC LIMIT 1
"""

# A transaction that inserts under the same key holds the same row, so nobody is in the way.
_KEEP = """
INSERT INTO sagas_signal (id, saga_id, name, key, payload)
VALUES (%(signal)s, %(id)s, %(name)s, %(key)s, %(payload)s)
"""

_WAKE = """
UPDATE sagas_saga SET not_before = NULL, hints = 0, updated_at = clock_timestamp(),
    due_at = clock_timestamp() + make_interval(secs => %(grace)s)
WHERE id = %(id)s AND waiting_for = %(what)s AND parked_at IS NULL AND leased_until IS NULL
"""


def signal(saga_id: UUID, name: str, payload: Any, *, key: str) -> Signaled:
    """Tell a saga that something has happened which it waits for, or will wait for.

    Kept whether or not the saga has got to the step that listens. Runs in the caller's
    transaction if one is open, so that what has happened and the signal are one commit. Safe to
    repeat: a name and a key are one signal, however often they come.

    :param name: the name of the step that waits
    :param payload: the dataclass that the step expects, or its JSON form
    :param key: what makes two signals one: the id of the message that brought it, say
    :raises NoSuchSaga: if there is none with this id
    :raises UnknownSignal: if the saga has no step that waits for this name
    :raises UnfitPayload: if a field of the payload is missing, unknown, or of another type
    :raises UnknownSaga: if the running code does not have the saga's definition, or has another
        one in its place
    :raises UnfitText: if name or key is no text, or has a zero byte or half of a surrogate pair, or
        the key is empty or longer than 1000 bytes
    """
    _refuse_unfit(name, key)
    context = current_context()
    if context is not None and is_detached(context):
        return _ask(saga_id, name, payload, key)
    if context is not None:
        return _receive(saga_id, name, payload, key)
    with transaction(ENGINE):
        return _receive(saga_id, name, payload, key)


def signal_by_operator(
    saga_id: UUID, name: str, payload: Any, *, key: str, by: str, reason: str
) -> Signaled:
    """Do what ``signal`` does for an operator, and keep who did it and why.

    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if a text has a zero byte, or half of a surrogate pair, or the key is longer
        than 1000 bytes
    """
    refuse_untold(by=by, reason=reason)
    _refuse_unfit(name, key)
    with transaction(ENGINE):
        outcome = _receive(saga_id, name, payload, key)
        OperatorAction.objects.create(
            action=f"signal {name}",
            target_type="saga",
            target_id=str(saga_id),
            by=by,
            reason=reason,
            outcome=outcome.value,
        )
        failpoint("act.before_commit", "signal")
    log.info("operator_action", extra={"action": "signal", "saga_id": str(saga_id), "by": by})
    return outcome


def _refuse_unfit(name: str, key: str) -> None:
    refuse_unfit(name=name, key=key)
    if not key:
        raise UnfitText("key is empty: all signals without one would be one")
    if (length := len(key.encode())) > LONGEST_KEY:
        raise UnfitText(f"key has {length} bytes; {LONGEST_KEY} are the most")


def _receive(saga_id: UUID, name: str, payload: Any, key: str) -> Signaled:
    told: dict[str, Any] = {"id": saga_id, "name": name, "key": key}
    with engine_cursor() as cursor:
        cursor.execute(_LOCK, told)
        row = cursor.fetchone()
        if row is None:
            raise NoSuchSaga
        status, at, waiting_for, parked, trace, nobody_has_it = row[4:]
        began = dict(zip(("name", "def_version", "fingerprint", "last_step"), row, strict=False))
        saga = versions.fitting(versions.Beginning(**began))
        number, awaits = _listener(saga, name)
        told |= {"signal": uuid7(), "payload": Jsonb(_fit(saga, name, awaits.payload, payload))}
        cursor.execute(_KNOWN, told)
        before = cursor.fetchone()
        if before is not None and before[0]:
            sometimes("signal.duplicate")
            return Signaled.DUPLICATE
        if status != Status.RUNNING:
            return Signaled.FINISHED
        cursor.execute(_KEEP, told)
    if at > number or before is not None:
        return Signaled.TOO_LATE
    if waiting_for == f"signal:{name}" and not parked:
        wake(saga_id, waiting_for)
        after_commit(lambda: _ring(saga, saga_id, at, trace))
        outcome = Signaled.DELIVERED
    else:
        sometimes("signal.early")
        outcome = Signaled.KEPT
        if nobody_has_it:
            # A message may be passing it by, since this transaction holds its row.
            after_commit(lambda: _ring(saga, saga_id, at, trace))
    failpoint("signal.before_commit", name)
    return outcome


def _ask(saga_id: UUID, name: str, payload: Any, key: str) -> Signaled:
    """Signal by the context's outbox; what can be known before the answer is said at once."""
    row = SagaInstance.objects.filter(id=saga_id).first()
    if row is None:
        raise NoSuchSaga
    saga = versions.fitting(row)
    number, awaits = _listener(saga, name)
    told = _fit(saga, name, awaits.payload, payload)
    if Signal.objects.filter(saga_id=saga_id, name=name, key=key).exists():
        return Signaled.DUPLICATE
    if row.status != Status.RUNNING:
        return Signaled.FINISHED
    requests.post(requests.SignalAsked(saga_id=saga_id, name=name, payload=told, key=key))
    return Signaled.TOO_LATE if row.cursor > number else Signaled.ASKED


def _listener(saga: Saga[Any], name: str) -> tuple[int, SignalAwaited]:
    listened = {
        step.name: (number, step.awaits)
        for number, step in enumerate(saga.steps)
        if isinstance(step.awaits, SignalAwaited)
    }
    if name not in listened:
        known = f"it listens to {', '.join(listened)}" if listened else "it listens to none"
        raise UnknownSignal(f"{saga.name} knows no signal {name!r}: {known}")
    return listened[name]


def _fit(saga: Saga[Any], name: str, expected: type, payload: Any) -> Any:
    """Return the JSON form of a payload that can be read into the expected type again."""
    where = f"{saga.name}, signal {name}"
    if dataclasses.is_dataclass(payload) and not isinstance(payload, expected):
        raise UnfitPayload(f"{where}: {expected.__name__} expected, {type(payload).__name__} found")
    if dataclasses.is_dataclass(payload):
        payload = {f.name: _encoded(payload, f.name, where) for f in dataclasses.fields(payload)}
    try:
        codec.decode(expected, payload)
    except codec.CannotDecode as wrong:
        raise UnfitPayload(f"{where}: {wrong}") from wrong
    if (unstorable := _unstorable(payload)) is not None:
        raise UnfitPayload(f"{where}: {unstorable} cannot be stored")
    return payload


def _unstorable(payload: Any) -> str | None:
    """Return what PostgreSQL does not hold of a payload."""
    try:
        written = json.dumps(payload, ensure_ascii=False, allow_nan=False).replace(r"\\", "")
    except (TypeError, ValueError) as wrong:
        return f"what is no JSON ({wrong})"
    if r"\u0000" in written:
        return "a text with a zero byte"
    return "a text with half of a surrogate pair" if storable(written) != written else None


def _encoded(payload: Any, field: str, where: str) -> Any:
    try:
        return codec.encode(getattr(payload, field))
    except codec.CannotEncode as wrong:
        raise UnfitPayload(f"{where}: {type(payload).__name__}.{field}: {wrong}") from wrong


def wake(saga_id: UUID, what: str) -> bool:
    """Wake a saga that sleeps for something; part of the transaction that brings it."""
    with engine_cursor() as cursor:
        cursor.execute(_WAKE, {"id": saga_id, "what": what, "grace": conf.HINT_GRACE})
        return bool(cursor.rowcount == 1)


def _ring(saga: Saga[Any], saga_id: UUID, at: int, trace: str | None) -> None:
    failpoint("signal.committed", saga.steps[at].name)
    canvas.send(saga, saga_id, cursor=at, direction=Direction.DO, traceparent=trace)


def oldest(saga_id: UUID, name: str) -> Kept | None:
    """Return the first signal of a name that no step has consumed; needs the saga's lock."""
    with engine_cursor() as cursor:
        cursor.execute(
            "SELECT id, key, payload FROM sagas_signal WHERE saga_id = %s AND name = %s"
            " AND consumed_at IS NULL ORDER BY received_at, id LIMIT 1",
            [saga_id, name],
        )
        row = cursor.fetchone()
    return None if row is None else Kept(id=row[0], key=row[1], payload=json.loads(row[2]))


def consume(kept: Kept, step_no: int) -> None:
    """Mark a signal as consumed, in the commit of the step that does it."""
    with engine_cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_signal SET consumed_at = clock_timestamp(), consumed_step = %s"
            " WHERE id = %s AND consumed_at IS NULL",
            [step_no, kept.id],
        )
