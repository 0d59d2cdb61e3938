"""The front door: every name of the engine that a context may use."""

from sagas import clock, correlation
from sagas.breaker import Breaker
from sagas.core.choreography import Choreography, Hop
from sagas.core.commands import Command, Postponed, Rejected, Unknown
from sagas.core.definition import (
    InvalidDefinition,
    Saga,
    begun,
    compensatable,
    parallel,
    pivot,
    retriable,
)
from sagas.core.errors import SagasError
from sagas.core.events import Event
from sagas.core.locks import Lock, Meeting
from sagas.core.retry import RetryPolicy
from sagas.core.upcasting import upcasts
from sagas.core.waits import child, sleep, wait_for
from sagas.failpoints import failpoint
from sagas.ids import uuid7
from sagas.orchestration.handlers import handles, handles_remote
from sagas.orchestration.locks import Holder, Locked, holder_of
from sagas.orchestration.orchestrator import (
    ask_to_cancel,
    cancel,
    compensate,
    park,
    resume,
    skip,
    start,
)
from sagas.orchestration.progress import heartbeat, last_heartbeat
from sagas.orchestration.rollout import chosen
from sagas.orchestration.run import Run, current_run
from sagas.orchestration.signals import Signaled, UnfitPayload, UnknownSignal, signal
from sagas.orchestration.starting import Again, AlreadyStarted, IdTaken, UnfitKey
from sagas.orchestration.status import NoSuchSaga, SagaView, saga_status
from sagas.orchestration.stops import Cancellation
from sagas.orchestration.store import StaleFencingToken
from sagas.outbox.publishing import VersionConflict, publish
from sagas.outbox.subscriptions import Envelope, current_event, on
from sagas.projections.declaring import Projection, Put
from sagas.projections.timeline import timeline_row
from sagas.reasons import ReasonMissing, UnfitText
from sagas.sometimes import sometimes
from sagas.streams.folding import Facts, folds
from sagas.transactions import (
    NestedTransaction,
    OutsideTransaction,
    connection_of,
    outside_transaction,
    transaction,
    transaction_required,
)

__all__ = [
    "Again",
    "AlreadyStarted",
    "Breaker",
    "Cancellation",
    "Choreography",
    "Command",
    "Envelope",
    "Event",
    "Facts",
    "Holder",
    "Hop",
    "IdTaken",
    "InvalidDefinition",
    "Lock",
    "Locked",
    "Meeting",
    "NestedTransaction",
    "NoSuchSaga",
    "OutsideTransaction",
    "Postponed",
    "Projection",
    "Put",
    "ReasonMissing",
    "Rejected",
    "RetryPolicy",
    "Run",
    "Saga",
    "SagaView",
    "SagasError",
    "Signaled",
    "StaleFencingToken",
    "UnfitKey",
    "UnfitPayload",
    "UnfitText",
    "Unknown",
    "UnknownSignal",
    "VersionConflict",
    "ask_to_cancel",
    "begun",
    "cancel",
    "child",
    "chosen",
    "clock",
    "compensatable",
    "compensate",
    "connection_of",
    "correlation",
    "current_event",
    "current_run",
    "failpoint",
    "folds",
    "handles",
    "handles_remote",
    "heartbeat",
    "holder_of",
    "last_heartbeat",
    "on",
    "outside_transaction",
    "parallel",
    "park",
    "pivot",
    "publish",
    "resume",
    "retriable",
    "saga_status",
    "signal",
    "skip",
    "sleep",
    "sometimes",
    "start",
    "timeline_row",
    "transaction",
    "transaction_required",
    "upcasts",
    "uuid7",
    "wait_for",
]
