"""Two who meet where somebody waits: for an order, a child, a time, or between two commits."""

from sagas.api import cancel, park, resume
from sagas.core.keys import Direction
from sagas.ids import uuid7
from sagas.orchestration.executor import run_link
from tests.interleaving import journeys
from tests.interleaving.apart import Apart
from tests.interleaving.meetings import (
    Begun,
    compensation,
    customer,
    forward,
    second_worker,
    work_off,
)
from tests.interleaving.stories import Senders
from tests.interleaving.turns import Turns

COOL = journeys.COOL.total_seconds()


def carry(saga_id, low, high):
    return run_link(saga_id, low, high, Direction.DO, swept=True)


def make_it_look(saga_id):
    """Let a saga that sleeps be claimed, as an operator may at any time."""
    park(saga_id, by="bob", reason="look")
    resume(saga_id, by="bob", reason="looked")


class Held(Turns):
    """An order in the hand of a saga that has one step left; a second one is about to come."""

    second = journeys.QUEUED

    def prepare(self, world):
        super().prepare(world)
        self.ids = [uuid7(), uuid7()]
        self.kinds = dict(zip(self.ids, (journeys.QUEUED, self.second), strict=True))
        alone = world.actors.run_alone
        alone(lambda: self.begin(self.ids[0]))
        alone(lambda: carry(self.ids[0], 0, 1))
        world.nature.pass_time(COOL)
        alone(lambda: carry(self.ids[0], 1, 2))
        self.meet(world)
        world.nature.sent.clear()

    def meet(self, world):
        """Nobody has met it yet."""


class HeldAgainstOne(Held):
    """The second one refuses to meet it."""

    second = journeys.ALONE


class Awaited(Held):
    """The second one sleeps for it."""

    def meet(self, world):
        world.actors.run_alone(lambda: self.begin(self.ids[1]))


class LookedFor(Awaited):
    """The second one was rung, and is about to look whether it is free."""

    def meet(self, world):
        super().meet(world)
        world.actors.run_alone(lambda: make_it_look(self.ids[1]))


def last_step(world):
    carry(world.story.ids[0], 3, 3)


def starter(world):
    world.story.begin(world.story.ids[1])


def waiter(world):
    carry(world.story.ids[1], 0, 3)


def other_life(world):
    """The holder ends, the lease of who looks has run out, and another worker carries that saga."""
    last_step(world)
    world.nature.pass_time(world.lease)
    waiter(world)
    world.nature.pass_time(COOL)
    waiter(world)


def canceler(world):
    cancel(world.story.ids[1], reason="no", by="alice")


class Cooling(Turns):
    """A saga whose timer ends now."""

    number = 1

    def prepare(self, world):
        super().prepare(world)
        self.id = uuid7()
        self.ids = [self.id]
        self.kinds = {self.id: journeys.QUEUED}
        world.actors.run_alone(lambda: self.begin(self.id))
        world.actors.run_alone(lambda: carry(self.id, 0, 1))
        world.nature.pass_time(COOL)
        world.nature.sent.clear()


class Sending(Senders):
    """A saga about to send its child."""

    number = 1

    def __init__(self):
        super().__init__(most=1)

    def prepare(self, world):
        super().prepare(world)
        [self.id] = self.ids
        world.actors.run_alone(lambda: self.begin(self.id))
        world.actors.run_alone(lambda: carry(self.id, 0, 0))
        self.send(world)
        world.nature.sent.clear()

    def send(self, world):
        """The child is not there yet."""


class Sent(Sending):
    """A child with one step left, whose parent was rung."""

    def send(self, world):
        alone = world.actors.run_alone
        alone(lambda: carry(self.id, 1, 1))
        [(self.child,)] = world.nature.sessions.rows(
            "SELECT id FROM sagas_saga WHERE parent_id = %s", [self.id]
        )
        alone(lambda: carry(self.child, 0, 1))
        alone(lambda: make_it_look(self.id))


def last_of_the_child(world):
    carry(world.story.child, 2, 2)


def call_back(world):
    """Cancel the parent, which calls its child back; all the way."""
    cancel(world.story.id, reason="no", by="alice")
    work_off(world)


class BegunApart(Begun, Apart):
    """A saga before a step that is two commits."""


WAITING_PAIRS = {
    "end and start: who waits": (Held, last_step, starter),
    "end and start: who is refused": (HeldAgainstOne, last_step, starter),
    "start and start": (Held, starter, starter),
    "end and cancel": (Awaited, last_step, canceler),
    "end and look": (LookedFor, last_step, waiter),
    "look and cancel": (LookedFor, waiter, canceler),
    "look and the other's life": (LookedFor, waiter, other_life),
    "timer and cancel": (Cooling, forward, customer),
    "timer and timer": (Cooling, forward, second_worker),
    "parent and parent": (Sending, forward, second_worker),
    "parent and cancel": (Sending, forward, customer),
    "child and parent": (Sent, last_of_the_child, forward),
    "child and call back": (Sent, last_of_the_child, call_back),
    **{
        f"apart, step and cancel: {step}": ((lambda step=step: BegunApart(step)), forward, customer)
        for step in ("take", "hold", "capture")
    },
    **{
        f"apart, step and step: {step}": (
            (lambda step=step: BegunApart(step)),
            forward,
            second_worker,
        )
        for step in ("take", "hold")
    },
    **{
        f"apart, compensation and zombie: {step}": (
            (lambda step=step: BegunApart(step)),
            forward,
            compensation,
        )
        for step in ("take", "hold")
    },
}
"""By their names: what is there, and the two that meet."""
