"""The engine's tables, and the abstract tables that each context makes its own."""

from sagas.models.clock import ClockOffset
from sagas.models.consumer import Consumer
from sagas.models.contextual import (
    Aggregate,
    BarrierBase,
    IdempotencyBase,
    InboxBase,
    OutboxBase,
    PositionBase,
    StreamDueBase,
    StreamLeaseBase,
)
from sagas.models.dead_letter import DeadLetter
from sagas.models.event import EventBase
from sagas.models.messaging import Barrier, Inbox, Position
from sagas.models.operator_action import OperatorAction
from sagas.models.outside import OutsideLease
from sagas.models.projection import ProjectionBase, ProjectionRow, TimelineRow
from sagas.models.rollout import Rollout
from sagas.models.saga import SagaInstance, Status
from sagas.models.semantic_lock import SemanticLock
from sagas.models.signal import Signal
from sagas.models.step_run import RunState, StepFault, StepRun
from sagas.models.unreadable import UnreadableMessage
from sagas.models.watched_flow import FlowBeginning, WatchedFlow

__all__ = [
    "Aggregate",
    "Barrier",
    "BarrierBase",
    "ClockOffset",
    "Consumer",
    "DeadLetter",
    "EventBase",
    "FlowBeginning",
    "IdempotencyBase",
    "Inbox",
    "InboxBase",
    "OperatorAction",
    "OutboxBase",
    "OutsideLease",
    "Position",
    "PositionBase",
    "ProjectionBase",
    "ProjectionRow",
    "Rollout",
    "RunState",
    "SagaInstance",
    "SemanticLock",
    "Signal",
    "Status",
    "StepFault",
    "StepRun",
    "StreamDueBase",
    "StreamLeaseBase",
    "TimelineRow",
    "UnreadableMessage",
    "WatchedFlow",
]
