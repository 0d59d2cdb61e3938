"""The sagas of the state machine that have branches or a child, and what must come of each kind."""

from dataclasses import dataclass, replace
from datetime import timedelta

from sagas.api import Saga, child, compensatable, parallel, pivot, retriable
from tests.integration.sagas import fan
from tests.integration.sagas.fan import FanState

DEADLINE = timedelta(minutes=5)
CHILD_AFTER = 100
"""How far the key of a child lies from that of its parent."""

FANNED = Saga(
    name="orders.machine_with_groups",
    version=1,
    state=FanState,
    deadline=DEADLINE,
    steps=(
        compensatable("take", do=fan.build_take, undo=fan.build_put_back),
        parallel(
            compensatable("pack", do=fan.build_pack, undo=fan.build_unpack, keep=fan.keep_box),
            compensatable("hold", do=fan.build_hold, undo=fan.build_release, keep=fan.keep_hold),
            compensatable("score", do=fan.build_score, undo=fan.build_unscore, when=fan.is_risky),
        ),
        pivot("capture", do=fan.build_capture),
        parallel(
            retriable("book", do=fan.build_book),
            retriable("tell", do=fan.build_tell),
        ),
    ),
)
CHILD = Saga(
    name="orders.machine_child",
    version=1,
    state=FanState,
    deadline=DEADLINE,
    steps=(
        compensatable("pack", do=fan.build_pack, undo=fan.build_unpack),
        compensatable("hold", do=fan.build_hold, undo=fan.build_release),
        retriable("tell", do=fan.build_tell),
    ),
)


def child_state(state: FanState) -> FanState:
    return replace(state, kept=())


def child_key(state: FanState) -> str:
    return str(state.subject.int - 1 + CHILD_AFTER)


PARENT = Saga(
    name="orders.machine_parent",
    version=1,
    state=FanState,
    deadline=DEADLINE,
    steps=(
        compensatable("take", do=fan.build_take, undo=fan.build_put_back),
        child("errand", of=CHILD, start=child_state, key=child_key, undo=fan.build_unpack),
        compensatable("score", do=fan.build_score, undo=fan.build_unscore),
        retriable("book", do=fan.build_book),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a saga of one definition has done when it has ended well, and how it is undone."""

    whole: frozenset[str]
    at_provider: str
    undo: tuple[tuple[str, str], ...]
    """Local steps and what undoes them."""
    closes: bool = False
    """Whether it ends its way back with closing what had begun."""


TRIAL = Kind(
    whole=frozenset(("take", "hold", "capture", "book")),
    at_provider="captured",
    undo=(("take", "put_back"),),
    closes=True,
)
KINDS = {
    FANNED.name: Kind(
        whole=frozenset(("take", "pack", "hold", "score", "capture", "book", "tell")),
        at_provider="captured",
        undo=(("take", "put_back"), ("pack", "unpack"), ("score", "unscore")),
    ),
    CHILD.name: Kind(
        whole=frozenset(("pack", "hold", "tell")),
        at_provider="held",
        undo=(("pack", "unpack"),),
    ),
    PARENT.name: Kind(
        whole=frozenset(("take", "score", "book")),
        at_provider="nothing",
        undo=(("take", "put_back"), ("score", "unscore")),
    ),
}
FORWARD_ONLY = ("capture", "book", "tell")
BACK = ("put_back", "unpack", "unscore", "release", "close")


def check(saga, effects, provider):
    """Ask of one saga what must be true after each thing that happens."""
    kind = KINDS.get(saga.name, TRIAL)
    assert set(effects.values()) <= {1}, "something took effect twice"
    for done, undone in kind.undo:
        assert effects[undone] <= effects[done], "undone without having been done"
    past = [what for what in FORWARD_ONLY if effects[what]]
    assert not (past and any(effects[what] for what in BACK)), f"{past}, and gone back"
    assert not (provider == "captured" and saga.status.startswith("compens"))
    if saga.status == "completed":
        assert {what for what, times in effects.items() if times} == kind.whole
        assert provider == kind.at_provider
    if saga.status == "compensated":
        for done, undone in kind.undo:
            assert effects[undone] == effects[done], f"{done} is not undone"
        assert effects["close"] == int(kind.closes)
        assert provider in {"nothing", "canceled"}


def check_rows(saga, open_branches):
    """Ask whether nobody is forgotten, and nothing is left of who has ended."""
    assert saga.pending == open_branches[saga.id] or saga.status == "compensating"
    if saga.finished_at is not None:
        left = (saga.leased_until, saga.due_at, saga.parked_at, saga.pending)
        assert left == (None, None, None, 0), "it has ended, and is not at rest"
        assert open_branches[saga.id] == 0, "it has ended, and a branch is open"
    elif saga.parked_at is None:
        assert saga.due_at is not None, "no sweeper will ever see it"
    if saga.status == "compensating":
        assert saga.pending == 0


def check_family(parent, children, effects):
    """Ask whether a parent and its child agree."""
    assert len(children) <= 1, "sent twice"
    ends = [child.status for child in children]
    if parent.status == "completed":
        assert ends == ["completed"]
    if parent.status == "compensated":
        assert ends in ([], ["completed"], ["compensated"])
        assert effects["unpack"] == ends.count("completed"), "a child is not undone, or twice"
    if effects["unpack"]:
        assert ends == ["completed"], "undone although it did not complete"
    if effects["score"]:
        assert ends == ["completed"], "gone on without its child"
