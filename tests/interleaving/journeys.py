"""What the sagas of the schedules are: the trial saga, and others with all that a saga can say."""

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sagas.api import (
    Lock,
    Meeting,
    NoSuchSaga,
    Saga,
    child,
    compensatable,
    parallel,
    pivot,
    retriable,
    signal,
    sleep,
    start,
    transaction,
    wait_for,
)
from sagas.orchestration import registry
from tests.integration.sagas import fan, trial, trio


@dataclass(frozen=True, kw_only=True, slots=True)
class Paid:
    amount: int


JOURNEY = Saga(
    name="orders.journey",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    steps=(
        compensatable("take", do=fan.build_take, undo=fan.build_put_back, skippable=True),
        parallel(
            compensatable("pack", do=fan.build_pack, undo=fan.build_unpack),
            compensatable("hold", do=fan.build_hold, undo=fan.build_release),
            compensatable(
                "score",
                do=fan.build_score,
                undo=fan.build_unscore,
                when=fan.is_risky,
                skippable=True,
            ),
        ),
        wait_for("paid", signal=Paid, within=timedelta(minutes=1)),
        pivot("capture", do=fan.build_capture),
        parallel(
            retriable("book", do=fan.build_book),
            retriable("tell", do=fan.build_tell, skippable=True),
        ),
    ),
)
RESERVE = Saga(
    name="orders.group_first",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    steps=(
        parallel(
            compensatable("pack", do=fan.build_pack, undo=fan.build_unpack, skippable=True),
            compensatable("hold", do=fan.build_hold, undo=fan.build_release, skippable=True),
        ),
        retriable("tell", do=fan.build_tell),
    ),
)

ERRAND = Saga(
    name="orders.sent",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    steps=(
        compensatable("pack", do=fan.build_pack, undo=fan.build_unpack),
        compensatable("hold", do=fan.build_hold, undo=fan.build_release),
        retriable("tell", do=fan.build_tell),
    ),
)


def _child_state(state: fan.FanState) -> fan.FanState:
    return replace(state, kept=())


def _child_key(state: fan.FanState) -> str:
    return f"of {state.subject}"


PARENT = Saga(
    name="orders.sender",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    steps=(
        compensatable("take", do=fan.build_take, undo=fan.build_put_back),
        child("errand", of=ERRAND, start=_child_state, key=_child_key, undo=fan.build_unpack),
        compensatable("score", do=fan.build_score, undo=fan.build_unscore),
        retriable("book", do=fan.build_book),
    ),
)

ORDER = UUID(int=7)
"""What the sagas with a lock all want."""
COOL = timedelta(seconds=20)


def the_order(state: fan.FanState) -> tuple[str, UUID]:
    return "orders.order", ORDER


QUEUED = Saga(
    name="orders.queued",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    lock=Lock(on=the_order, meeting=Meeting.WAIT),
    steps=(
        compensatable("take", do=fan.build_take, undo=fan.build_put_back),
        sleep("cool", lasts=COOL),
        compensatable("score", do=fan.build_score, undo=fan.build_unscore),
        retriable("book", do=fan.build_book),
    ),
)
ALONE = Saga(
    name="orders.alone",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    lock=Lock(on=the_order, meeting=Meeting.REFUSE),
    steps=(
        compensatable("take", do=fan.build_take, undo=fan.build_put_back),
        child("errand", of=ERRAND, start=_child_state, key=_child_key, undo=fan.build_unpack),
        retriable("book", do=fan.build_book),
    ),
)
SENDERS = (PARENT.name, ALONE.name)
"""Those that send a child."""
LOCKING = (QUEUED.name, ALONE.name)

UNDONE_BY = {
    "take": "put_back",
    "hold": "release",
    "pack": "unpack",
    "score": "unscore",
    "lift": "lower",
    "send": "fetch",
}
"""What the steps of all sagas have done, by what undoes it."""
BEGUN = (trial.TRIAL.name, trio.TRIO.name)
"""Those whose first step is the start."""
BACK = {"open": "close", "errand": "unpack"}
"""The same of steps that do nothing themselves."""

WHOLE = {
    trial.TRIAL.name: {"take", "hold", "capture", "book"},
    JOURNEY.name: {"take", "pack", "hold", "capture", "book", "tell"},
    RESERVE.name: {"pack", "hold", "tell"},
    ERRAND.name: {"pack", "hold", "tell"},
    PARENT.name: {"take", "book"},
    QUEUED.name: {"take", "book"},
    ALONE.name: {"take", "book"},
    trio.TRIO.name: {"take", "lift", "send"},
}
"""What a completed saga has done, its conditional steps left out."""
MAYBE = {"score"}


def register():
    """Make the sagas known."""
    trial.register()
    trio.register()
    for saga in (JOURNEY, RESERVE, ERRAND, PARENT, QUEUED, ALONE):
        if (saga.name, saga.version) not in registry.SAGAS:
            registry.add(saga)


def begin(saga, saga_id, *, is_risky=True):
    """Start a saga as a customer's request does."""
    if saga is trio.TRIO:
        trio.begin(saga_id)
        return
    state = (
        trial.TrialState(subject=saga_id)
        if saga is trial.TRIAL
        else fan.FanState(subject=saga_id, is_risky=is_risky)
    )
    with transaction("orders"):
        start(saga, state, key=str(saga_id), saga_id=saga_id)


def tell_that_it_is_paid(saga_id, key):
    """Signal, if the saga is there already."""
    try:
        signal(saga_id, "paid", Paid(amount=1), key=key)
    except NoSuchSaga:
        return
