"""What nobody awaits does not run: such functions are refused when they are imported."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from sagas.api import (
    InvalidDefinition,
    Lock,
    compensatable,
    handles,
    handles_remote,
    on,
    retriable,
    sleep,
)
from sagas.core.callables import uncallable
from sagas.orchestration import handlers
from sagas.outbox import subscriptions
from tests.unit.sagas.words import Do, Reply, State, a_saga, ahead, build_do, build_undo


@pytest.fixture(autouse=True)
def registrations(monkeypatch):
    monkeypatch.setattr(handlers, "HANDLERS", {})
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", {})


async def awaited(value: object) -> None:
    pass


def generated(value):
    yield value


async def generated_and_awaited(value):
    yield value


def plain(value):
    return value


def needing_more(value, more):
    return more


def needing_a_name(value, *, more):
    return more


class Awaited:
    async def __call__(self, value):
        pass


class Plain:
    def __call__(self, value):
        return value

    def bound(self, value):
        return value


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (awaited, "awaited is an async function, which nobody awaits: write it with def"),
        (partial(awaited), "is an async function"),
        (Awaited(), "is an async function"),
        (generated, "generated is a generator, which nobody runs: return instead of yield"),
        (generated_and_awaited, "is an async function"),
        (lambda: None, "is called with one value: too many positional arguments"),
        (needing_more, "missing a required argument: 'more'"),
        (needing_a_name, "missing a required argument: 'more'"),
    ],
)
def test_what_cannot_be_called_is_known(function, said):
    assert said in (uncallable(function, 1) or "")


@pytest.mark.parametrize(
    "function", [plain, Plain(), Plain().bound, partial(plain), partial(needing_more, more=1)]
)
def test_what_can_be_called_is_accepted(function):
    assert uncallable(function, 1) is None


async def do_later(command: Do) -> Reply:
    return Reply(number=1)


def do(command: Do) -> Reply:
    return Reply(number=1)


def do_twice(command: Do, more) -> Reply:
    return Reply(number=1)


def record(command: Do, intent: int, outcome: int) -> Reply:
    return Reply(number=outcome)


def one(command):
    return 1


def two(command, intent):
    return 1


async def later(*given):
    pass


def test_a_handler_that_nobody_awaits_is_refused():
    with pytest.raises(InvalidDefinition, match=r"orders\.UnitDo: do_later is an async function"):
        handles(Do)(do_later)
    with pytest.raises(InvalidDefinition, match=r"orders\.UnitDo: do_twice is called with one"):
        handles(Do)(do_twice)
    with pytest.raises(InvalidDefinition, match=r"UnitDo: do is called with 3 values"):
        handles_remote(Do, intent=one, call=two)(do)
    assert handlers.HANDLERS == {}


@pytest.mark.parametrize("what", ["intent", "call", "close", "refused"])
def test_each_part_of_a_remote_handler_is_looked_at(what):
    parts = {"intent": one, "call": two} | {what: later}

    with pytest.raises(InvalidDefinition, match=f"UnitDo, {what}=: later is an async function"):
        handles_remote(Do, **parts)(record)


@dataclass(frozen=True)
class Seen:
    text: str


async def hear(seen: Seen) -> None:
    pass


def test_a_handler_of_events_that_nobody_awaits_is_refused():
    with pytest.raises(InvalidDefinition, match=r"handler of billing\.Done: hear is an async"):
        on("billing.Done")(hear)
    assert subscriptions.SUBSCRIPTIONS == {}


async def build_later(state: State) -> Do:
    return Do()


async def keep_later(state: State, reply: Reply) -> State:
    return state


async def when_later(state: State) -> bool:
    return True


async def lasts_later(state: State) -> timedelta:
    return timedelta(1)


async def lock_later(state: State) -> tuple[str, UUID]:
    return "orders.order", UUID(int=1)


def build_with_more(state: State, more) -> Do:
    return Do()


RETRIABLE = retriable("step", do=build_do)


@pytest.mark.parametrize(
    "step",
    [
        replace(RETRIABLE, do=build_later),
        replace(RETRIABLE, keep=keep_later),
        replace(RETRIABLE, when=when_later),
        compensatable("step", do=build_later, undo=build_undo),
    ],
    ids=["do", "keep", "when", "do with undo"],
)
def test_each_function_of_a_step_is_looked_at(step):
    with pytest.raises(InvalidDefinition, match=r"step step: .*_later is an async function"):
        a_saga(step)


def test_waits_and_locks_and_further_parameters_are_looked_at():
    with pytest.raises(InvalidDefinition, match="lasts_later is an async function"):
        a_saga(sleep("doze", lasts=lasts_later), ahead())
    with pytest.raises(InvalidDefinition, match=r"orders\.unit, lock: lock_later is an async"):
        a_saga(ahead(), lock=Lock(on=lock_later))
    with pytest.raises(InvalidDefinition, match="missing a required argument: 'more'"):
        a_saga(retriable("step", do=build_with_more))
