"""A saga of local steps only, each of which may share its commit with others of its kind."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from sagas.api import (
    Command,
    Rejected,
    Saga,
    begun,
    compensatable,
    current_run,
    handles,
    start,
    transaction,
    uuid7,
)
from sagas.orchestration import registry
from tests.integration.sagas import trial
from tests.integration.sagas.trial import act, take_effect

NOWHERE = "nowhere"
"""The order whose last step is refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrioState:
    subject: UUID
    weight: str = ""
    order: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    weight: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lift(Command[Weight]):
    name: ClassVar[str] = "orders.TrioLift"
    subject: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Lower(Command[None]):
    name: ClassVar[str] = "orders.TrioLower"
    weight: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Send(Command[None]):
    name: ClassVar[str] = "orders.TrioSend"
    to: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetch(Command[None]):
    name: ClassVar[str] = "orders.TrioFetch"


@handles(Lift, shares_commit=True)
def lift(command: Lift) -> Weight:
    act("lift")
    take_effect("lift")
    return Weight(weight=str(command.subject))


@handles(Lower, shares_commit=True)
def lower(command: Lower) -> None:
    """Safe to repeat: the test counts."""
    act("lower")
    assert command.weight == str(current_run().saga_id)
    take_effect("lower")


@handles(Send, shares_commit=True)
def send(command: Send) -> None:
    act("send")
    if command.to == NOWHERE:
        raise Rejected("nowhere")
    take_effect("send")


@handles(Fetch, shares_commit=True)
def fetch(command: Fetch) -> None:
    """Safe to repeat: the test counts."""
    take_effect("fetch")


def build_close(state: TrioState) -> trial.Close:
    return trial.Close()


def build_take(state: TrioState) -> trial.Take:
    return trial.Take()


def build_put_back(state: TrioState) -> trial.PutBack:
    return trial.PutBack()


def build_lift(state: TrioState) -> Lift:
    return Lift(subject=state.subject)


def keep_weight(state: TrioState, reply: Weight) -> TrioState:
    return replace(state, weight=reply.weight)


def build_lower(state: TrioState) -> Lower:
    return Lower(weight=state.weight)


def build_send(state: TrioState) -> Send:
    return Send(to=state.order)


def build_fetch(state: TrioState) -> Fetch:
    return Fetch()


OPEN = begun("open", undo=build_close)
TAKE = compensatable("take", do=build_take, undo=build_put_back)
LIFT = compensatable("lift", do=build_lift, undo=build_lower, keep=keep_weight)
SEND = compensatable("send", do=build_send, undo=build_fetch)
TRIO = Saga(
    name="orders.trio",
    version=1,
    state=TrioState,
    deadline=timedelta(minutes=5),
    steps=(OPEN, TAKE, LIFT, SEND),
)


def register() -> None:
    if (TRIO.name, TRIO.version) not in registry.SAGAS:
        registry.add(TRIO)


def begin(saga_id: UUID | None = None, saga: Saga[TrioState] = TRIO, *, order: str = "") -> UUID:
    """Start one in a committed transaction."""
    saga_id = saga_id or uuid7()
    state = TrioState(subject=saga_id, order=order)
    with transaction("orders"):
        return start(saga, state, key=str(saga_id), saga_id=saga_id)
