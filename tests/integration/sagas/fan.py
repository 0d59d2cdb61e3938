"""A saga of the tests' own with two groups and a condition, beside the trial saga.

Three branches over three contexts, one of them remote; then the pivot; then two that must succeed.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from sagas.api import (
    Command,
    Saga,
    compensatable,
    handles,
    parallel,
    pivot,
    retriable,
    start,
    transaction,
    uuid7,
)
from sagas.orchestration import registry
from tests.integration.sagas.trial import (
    Book,
    Capture,
    Held,
    Hold,
    PutBack,
    Release,
    Take,
    act,
    take_effect,
)

TAKE, PACK, HOLD, SCORE, CAPTURE, BOOK, TELL = range(7)


@dataclass(frozen=True, kw_only=True, slots=True)
class FanState:
    subject: UUID
    is_risky: bool = True
    total: int = 0
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    box: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack(Command[Packed]):
    name: ClassVar[str] = "orders.TrialPack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpack(Command[None]):
    name: ClassVar[str] = "orders.TrialUnpack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Score(Command[None]):
    name: ClassVar[str] = "billing.TrialScore"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unscore(Command[None]):
    name: ClassVar[str] = "billing.TrialUnscore"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tell(Command[None]):
    name: ClassVar[str] = "orders.TrialTell"


@handles(Pack)
def pack(command: Pack) -> Packed:
    act("pack")
    take_effect("pack")
    return Packed(box="b1")


@handles(Unpack)
def unpack(command: Unpack) -> None:
    """Safe to repeat: the test counts."""
    act("unpack")
    take_effect("unpack")


@handles(Score)
def score(command: Score) -> None:
    act("score")
    take_effect("score")


@handles(Unscore)
def unscore(command: Unscore) -> None:
    """Safe to repeat: the test counts."""
    act("unscore")
    take_effect("unscore")


@handles(Tell)
def tell(command: Tell) -> None:
    act("tell")
    take_effect("tell")


def build_take(state: FanState) -> Take:
    return Take()


def build_put_back(state: FanState) -> PutBack:
    return PutBack()


def build_pack(state: FanState) -> Pack:
    return Pack()


def keep_box(state: FanState, reply: Packed) -> FanState:
    return replace(state, kept=(*state.kept, reply.box))


def build_unpack(state: FanState) -> Unpack:
    return Unpack()


def build_hold(state: FanState) -> Hold:
    return Hold(subject=state.subject)


def keep_hold(state: FanState, reply: Held) -> FanState:
    return replace(state, kept=(*state.kept, reply.hold))


def build_release(state: FanState) -> Release:
    return Release()


def build_score(state: FanState) -> Score:
    return Score()


def build_unscore(state: FanState) -> Unscore:
    return Unscore()


def is_risky(state: FanState) -> bool:
    act("is_risky")
    return state.is_risky


def build_capture(state: FanState) -> Capture:
    return Capture()


def build_book(state: FanState) -> Book:
    return Book()


def build_tell(state: FanState) -> Tell:
    return Tell()


FAN = Saga(
    name="orders.fan",
    version=1,
    state=FanState,
    deadline=timedelta(minutes=5),
    steps=(
        compensatable("take", do=build_take, undo=build_put_back, skippable=True),
        parallel(
            compensatable("pack", do=build_pack, undo=build_unpack, keep=keep_box),
            compensatable("hold", do=build_hold, undo=build_release, keep=keep_hold),
            compensatable(
                "score", do=build_score, undo=build_unscore, when=is_risky, skippable=True
            ),
        ),
        pivot("capture", do=build_capture),
        parallel(
            retriable("book", do=build_book),
            retriable("tell", do=build_tell),
        ),
    ),
)


def register() -> None:
    if (FAN.name, FAN.version) not in registry.SAGAS:
        registry.add(FAN)


def begin(*, is_risky: bool = True) -> UUID:
    """Start a fan in a committed transaction."""
    saga_id = uuid7()
    state = FanState(subject=saga_id, is_risky=is_risky)
    with transaction("orders"):
        return start(FAN, state, key=str(saga_id), saga_id=saga_id)
