"""A saga of the tests' own: four steps over three contexts, every one of them scripted.

Effects are rows of one small table, so that a test can count what really happened.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import itemgetter
from typing import Any, ClassVar
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from sagas.api import (
    Command,
    Rejected,
    Saga,
    begun,
    compensatable,
    connection_of,
    current_run,
    handles,
    handles_remote,
    pivot,
    retriable,
    start,
    transaction,
    uuid7,
)
from sagas.orchestration import registry
from sagas.transactions import current_context

SCRIPT: dict[str, Callable[[], Any]] = {}
"""What happens inside a step: called by its name, may raise."""
CALLS: list[str] = []
"""Physical calls to the other side."""


def databases() -> list[BaseDatabaseWrapper]:
    """A connection to each database there is: one, unless contexts are detached."""
    by_name = {
        connections[alias].settings_dict["NAME"]: alias for alias in reversed([*connections])
    }
    return [connections[alias] for alias in by_name.values()]


def table_of_effects() -> None:
    """Make the table in every database, readable for every context's role."""
    for connection in databases():
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS public.trial_effect (id bigserial, what text,"
                " saga uuid, at timestamptz DEFAULT clock_timestamp());"
                # First the lock that ends an autovacuum, then what it could wait for.
                "TRUNCATE public.trial_effect;"
                "GRANT ALL ON public.trial_effect TO PUBLIC;"
                "GRANT ALL ON SEQUENCE public.trial_effect_id_seq TO PUBLIC"
            )


def effects(saga_id: UUID | None = None) -> list[str]:
    """What has taken effect and is committed, in order."""
    found = []
    for connection in databases():
        with connection.cursor() as cursor:
            cursor.execute("SELECT at, id, what, saga FROM public.trial_effect")
            found += cursor.fetchall()
    found.sort(key=itemgetter(0, 1))
    return [what for *_, what, saga in found if saga_id in {None, saga}]


def take_effect(what: str) -> None:
    run = current_run()
    with connection_of(current_context() or "orders").cursor() as cursor:
        cursor.execute(
            "INSERT INTO public.trial_effect (what, saga) VALUES (%s, %s)", [what, run.saga_id]
        )


def act(what: str) -> Any:
    return SCRIPT[what]() if what in SCRIPT else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialState:
    subject: UUID
    hold: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    hold: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Open(Command[None]):
    name: ClassVar[str] = "orders.TrialOpen"


@dataclass(frozen=True, kw_only=True, slots=True)
class Close(Command[None]):
    name: ClassVar[str] = "orders.TrialClose"


@dataclass(frozen=True, kw_only=True, slots=True)
class Take(Command[None]):
    name: ClassVar[str] = "orders.TrialTake"


@dataclass(frozen=True, kw_only=True, slots=True)
class PutBack(Command[None]):
    name: ClassVar[str] = "orders.TrialPutBack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold(Command[Held]):
    name: ClassVar[str] = "payments.TrialHold"
    subject: UUID


@dataclass(frozen=True, kw_only=True, slots=True)
class Release(Command[None]):
    name: ClassVar[str] = "payments.TrialRelease"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capture(Command[None]):
    name: ClassVar[str] = "payments.TrialCapture"


@dataclass(frozen=True, kw_only=True, slots=True)
class Book(Command[None]):
    name: ClassVar[str] = "billing.TrialBook"


@handles(Close, shares_commit=True)
def close(command: Close) -> None:
    """Safe to repeat: the test counts."""
    act("close")
    take_effect("close")


@handles(Take, shares_commit=True)
def take(command: Take) -> None:
    act("take")
    take_effect("take")


@handles(PutBack, shares_commit=True)
def put_back(command: PutBack) -> None:
    """Safe to repeat: the test counts."""
    act("put_back")
    take_effect("put_back")


def intend_hold(command: Hold) -> str:
    act("intend_hold")
    return current_run().effect_key


def call_hold(command: Hold, key: str) -> str:
    """Safe to repeat: the key is the effect's."""
    CALLS.append("hold")
    return act("hold") or "h1"


def refuse_hold(command: Hold, key: str, rejected: Rejected) -> None:
    take_effect("refused_hold")


@handles_remote(Hold, intent=intend_hold, call=call_hold, refused=refuse_hold)
def record_hold(command: Hold, key: str, hold: str) -> Held:
    act("record_hold")
    take_effect("hold")
    return Held(hold=hold)


def intend_release(command: Release) -> str:
    return current_run().effect_key


def call_release(command: Release, key: str) -> None:
    """Safe to repeat: the key is the effect's."""
    CALLS.append("release")
    act("release")


@handles_remote(Release, intent=intend_release, call=call_release)
def record_release(command: Release, key: str, outcome: None) -> None:
    take_effect("release")


def intend_capture(command: Capture) -> str:
    return current_run().effect_key


def call_capture(command: Capture, key: str) -> str:
    """Safe to repeat: the key is the effect's."""
    CALLS.append("capture")
    return act("capture") or "captured"


def close_capture(command: Capture, key: str) -> str | None:
    """Safe to repeat: cancels for good."""
    CALLS.append("close_capture")
    return act("close_capture")


@handles_remote(Capture, intent=intend_capture, call=call_capture, close=close_capture)
def record_capture(command: Capture, key: str, outcome: str) -> None:
    take_effect("capture")


@handles(Book, shares_commit=True)
def book(command: Book) -> None:
    act("book")
    take_effect("book")


def build_close(state: TrialState) -> Close:
    return Close()


def build_take(state: TrialState) -> Take:
    return Take()


def build_put_back(state: TrialState) -> PutBack:
    return PutBack()


def build_hold(state: TrialState) -> Hold:
    return Hold(subject=state.subject)


def keep_hold(state: TrialState, reply: Held) -> TrialState:
    return replace(state, hold=reply.hold)


def build_release(state: TrialState) -> Release:
    return Release()


def build_capture(state: TrialState) -> Capture:
    return Capture()


def build_book(state: TrialState) -> Book:
    return Book()


TRIAL = Saga(
    name="orders.trial",
    version=1,
    state=TrialState,
    deadline=timedelta(minutes=5),
    steps=(
        begun("open", undo=build_close),
        compensatable("take", do=build_take, undo=build_put_back, skippable=True),
        compensatable("hold", do=build_hold, undo=build_release, keep=keep_hold),
        pivot("capture", do=build_capture),
        retriable("book", do=build_book),
    ),
)


def register() -> None:
    if (TRIAL.name, TRIAL.version) not in registry.SAGAS:
        registry.add(TRIAL)


def begin(key: str | None = None, **options: Any) -> UUID:
    """Start a trial saga in a committed transaction."""
    saga_id = uuid7()
    state = TrialState(subject=saga_id)
    with transaction("orders"):
        return start(TRIAL, state, key=key or str(saga_id), saga_id=saga_id, **options)
