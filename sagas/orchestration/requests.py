"""What a context with a database of its own asks of the engine: start a saga, cancel, signal.

Its transaction cannot write the engine's rows. So it writes a row of its own outbox, in the same
commit as everything else, and the engine applies it as a consumer does, with an inbox and a
position of its own: once, whatever is lost or doubled. Right after the commit the caller's process
delivers it itself, best effort, so that a page seldom finds a saga that is not there yet; the
relay is the guarantee.

Each request is an aggregate of its own. Only one order counts, start before cancel, and a cancel
that comes first brings its start along.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from psycopg.types.json import Jsonb

from sagas import clock
from sagas.contexts import contexts
from sagas.core import codec
from sagas.core.commands import context_of
from sagas.core.errors import SagasError
from sagas.core.locks import Meeting
from sagas.correlation import current_or_new
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.models.dead_letter import DeadLetter
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration.insertion import NewSaga, by_key
from sagas.orchestration.status import NoSuchSaga
from sagas.orchestration.stops import Cancellation
from sagas.outbox import subscriptions
from sagas.outbox.history import KEEP, filled
from sagas.statements import cursor_of
from sagas.transactions import (
    ENGINE,
    after_commit,
    connection_of,
    is_detached,
    outside,
    table,
    transaction_required,
)

log = logging.getLogger(__name__)

R = TypeVar("R")


class KeyTaken(SagasError):
    """Another saga was started under this business key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelAsked:
    """Turn a saga round, if it still can be."""

    saga_id: UUID
    reason: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalAsked:
    """Tell a saga that something has happened."""

    saga_id: UUID
    name: str
    payload: Any
    key: str


Request = NewSaga | CancelAsked | SignalAsked
NAMES: Final[Mapping[type, str]] = {
    NewSaga: "SagaStartAsked",
    CancelAsked: "SagaCancelAsked",
    SignalAsked: "SagaSignalAsked",
}
"""What the outboxes call them; rows that are written keep their names."""

_POST = """
INSERT INTO {outbox} (id, aggregatetype, aggregateid, sequence, type, version, payload,
    occurred_at, correlation_id, causation_id, traceparent, actor)
VALUES (%(id)s, %(aggregate)s, %(alone)s, 1, %(type)s, 1, %(payload)s, %(at)s, %(correlation)s,
    %(causation)s, %(trace)s, %(actor)s)
ON CONFLICT (id) DO NOTHING
"""

_BEGIN = """
INSERT INTO {barrier} (saga_id, step_no, direction, state) VALUES (%s, 0, 'do', 'done')
ON CONFLICT DO NOTHING
"""

# Only what nobody else has taken up; a relay that has leased it marks it itself.
_SETTLE = """
WITH moved AS (
    UPDATE {outbox} SET published_at = clock_timestamp(), settled_at = clock_timestamp()
    WHERE id = %s AND published_at IS NULL AND leased_until IS NULL
    RETURNING {columns})
{keep}
"""


# Written so that the two indexes of what is under way are enough.
_ITS_START = """
SELECT id, type, aggregatetype, aggregateid, sequence, payload FROM {outbox}
WHERE type = %s AND payload->>'saga_id' = %s
    AND (published_at IS NULL OR settled_at IS NULL AND published_at IS NOT NULL)
"""


def name_of(context: str, kind: type) -> str:
    """Return the name under which a context's request stands in its outbox."""
    return f"{context}.{NAMES[kind]}"


def post(request: Request, request_id: UUID | None = None) -> bool:
    """Write a request into the outbox of the context whose transaction is open.

    False where one with this id is there; whoever is about to write one is waited for.

    :raises OutsideTransaction: if none is
    """
    context = transaction_required()
    request_id = request_id or uuid7()
    correlation = current_or_new()
    parameters: dict[str, Any] = {
        "id": request_id,
        "aggregate": f"{context}.{subscriptions.REQUEST}",
        "alone": uuid7(),  # never one that the engine has a position for
        "type": name_of(context, type(request)),
        "payload": Jsonb(codec.encode(request)),
        "at": clock.now(),
        "correlation": correlation.correlation_id,
        "causation": correlation.causation_id,
        "trace": correlation.traceparent,
        "actor": correlation.actor,
    }
    with connection_of(context).cursor() as cursor:
        cursor.execute(_POST.replace("{outbox}", table(context, "outbox")), parameters)
        if cursor.rowcount != 1:
            return False
    after_commit(lambda: outside(lambda: _deliver(context, request_id)))
    return True


def asked_for(request_id: UUID) -> UUID | None:
    """Return the saga that a request names, if the context whose transaction is open has it."""
    context = transaction_required()
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            f"SELECT payload->>'saga_id' FROM {table(context, 'outbox')} WHERE id = %s",  # noqa: S608
            [request_id],
        )
        row = cursor.fetchone()
    return None if row is None else UUID(row[0])


def ask_to_cancel(saga_id: UUID, *, reason: str, by: str) -> Cancellation:
    """Ask by the context's outbox; what can be known before the answer is said at once.

    :raises NoSuchSaga: if there is none with this id, and the context has begun or asked for none
    """
    saga = _known(saga_id)
    if saga is None and not is_begun(saga_id) and not _is_on_its_way(saga_id):
        saga = _known(saga_id)  # perhaps since that was asked: its start is on its way no longer
        if saga is None:
            raise NoSuchSaga
    if saga is not None and saga.status != Status.RUNNING:
        return Cancellation.FINISHED
    if saga is not None and not saga.may_turn:
        return Cancellation.TOO_LATE
    post(CancelAsked(saga_id=saga_id, reason=reason, by=by))
    return Cancellation.ASKED


def begin(saga_id: UUID) -> None:
    """Record that the first step is done."""
    context = transaction_required()
    with cursor_of(context) as cursor:
        cursor.execute(_BEGIN.replace("{barrier}", table(context, "barrier")), [saga_id])


def is_begun(saga_id: UUID) -> bool:
    """Return whether the context whose transaction is open has begun a saga."""
    context = transaction_required()
    with connection_of(context).cursor() as cursor:
        cursor.execute(
            f"SELECT 1 FROM {table(context, 'barrier')} WHERE saga_id = %s LIMIT 1",  # noqa: S608
            [saga_id],
        )
        return cursor.fetchone() is not None


def _known(saga_id: UUID) -> SagaInstance | None:
    return SagaInstance.objects.filter(id=saga_id).first()


def _is_on_its_way(saga_id: UUID) -> bool:
    """Return whether the context whose transaction is open has a start that is not settled."""
    return bool(_starts(transaction_required(), saga_id))


def _starts(context: str, saga_id: UUID) -> list[tuple[Any, ...]]:
    with connection_of(context).cursor() as cursor:
        statement = _ITS_START.replace("{outbox}", table(context, "outbox"))
        cursor.execute(statement, [name_of(context, NewSaga), str(saga_id)])
        return list(cursor.fetchall())


def _deliver(context: str, request_id: UUID) -> None:
    """Let the engine apply a request at once; whatever goes wrong, the relay does it again."""
    from sagas.outbox import delivery

    failpoint("request.posted", context)
    if delivery.deliver(context, ENGINE, [str(request_id)]):
        with connection_of(context).cursor() as cursor:
            cursor.execute(filled(_SETTLE, context, keep=KEEP), [request_id])


def listen() -> None:
    """Subscribe the engine to the requests of every detached context."""
    for context in filter(is_detached, contexts()):
        for kind, handler in ((NewSaga, _start), (CancelAsked, _cancel), (SignalAsked, _signal)):
            subscriptions.on(name_of(context, kind))(handler)


@contextmanager
def _definition_known(saga_id: UUID) -> Iterator[None]:
    """Leave a request about a definition that this release does not have to one that has it."""
    from sagas.orchestration import registry

    try:
        yield
    except registry.UnknownSaga as unknown:
        log.warning("saga_unknown", extra={"saga_id": str(saga_id), "error": str(unknown)})
        raise subscriptions.NotYet(str(unknown)) from unknown


def _start(new: NewSaga) -> None:
    from sagas.orchestration import orchestrator, versions

    with _definition_known(new.saga_id):
        saga = versions.fitting(new)
    started = orchestrator.begin(saga, new, refuses=False)
    if started.is_asleep and saga.lock is not None and saga.lock.meeting is Meeting.REFUSE:
        # Whoever asked has gone on and done the first step: it is undone.
        orchestrator.ask_to_cancel(new.saga_id, reason="locked", by=saga.name)
    if not started.is_new and by_key(new.name, new.key) != new.saga_id:
        raise KeyTaken(f"{new.name} {new.key}: saga {new.saga_id} was not started")


def _hear_its_start(saga_id: UUID) -> None:
    """Apply the start of a saga that is under way in the outbox of whoever cancels it.

    As its own delivery does, which is refused from here on: neither is it heard twice, nor is one
    that an operator has discarded.
    """
    from sagas.outbox import delivery

    producer = context_of(subscriptions.current_event().name)
    found = _starts(producer, saga_id)
    for event_id, name, aggregate_type, aggregate_id, sequence, payload in found:
        event = DeadLetter(
            context=ENGINE,
            event_id=event_id,
            event_name=name,
            aggregate_type=aggregate_type,
            aggregate_id=aggregate_id,
            sequence=sequence,
        )
        if delivery.pass_over(event):
            _start(codec.decode(NewSaga, json.loads(payload), tolerant=True))


def _cancel(asked: CancelAsked) -> None:
    from sagas.orchestration import orchestrator

    if not SagaInstance.objects.filter(id=asked.saga_id).exists():
        _hear_its_start(asked.saga_id)
    outcome = orchestrator.ask_to_cancel(asked.saga_id, reason=asked.reason, by=asked.by)
    log.info("cancel_applied", extra={"saga_id": str(asked.saga_id), "outcome": outcome.value})


def _signal(asked: SignalAsked) -> None:
    from sagas.orchestration import signals

    with _definition_known(asked.saga_id):
        signals.signal(asked.saga_id, asked.name, asked.payload, key=asked.key)
