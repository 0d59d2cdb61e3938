"""Two who meet: a saga, an aggregate or an event just before it, and what each of them does."""

from sagas.api import cancel
from sagas.core.keys import Direction
from sagas.orchestration.executor import run_link
from tests.interleaving import journeys
from tests.interleaving.stories import Events, Journeys, Sagas, task

STEPS = {"take": 1, "hold": 2, "capture": 3, "book": 4}


class Begun(Sagas):
    """One saga whose cursor has come to a step, with no message about it."""

    def __init__(self, step):
        super().__init__(most=1)
        self.number = STEPS[step]

    def prepare(self, world):
        super().prepare(world)
        [self.id] = self.ids
        world.actors.run_alone(lambda: self.begin(self.id))
        if self.number > 1:
            world.actors.run_alone(lambda: forward(world, self.number - 1, low=1))
        world.nature.sent.clear()


def forward(world, number=None, low=None):
    """Carry out the step, or those up to it, as the message of a worker asks."""
    number = number or world.story.number
    run_link(world.story.ids[0], low or number, number, Direction.DO, swept=True)


def customer(world):
    cancel(world.story.id, reason="no", by="alice")


def second_worker(world):
    """The lease of the first one has run out."""
    world.nature.pass_time(world.lease)
    forward(world)


def sweeper(world):
    """The lease of the worker has run out; another one works off what the sweeper sends."""
    world.nature.pass_time(world.lease)
    task("sweep")()
    work_off(world)


def compensation(world):
    """Cancel, and go all the way back."""
    cancel(world.story.id, reason="no", by="alice")
    work_off(world)


def refusal(world):
    """Whoever calls the provider next is told no; then all the way back, if it is so."""
    world.nature.pass_time(world.lease)
    world.provider.planned.append("no")
    forward(world)
    work_off(world)
    task("sweep")()
    world.nature.pass_time(world.lease)
    task("sweep")()
    work_off(world)


def work_off(world):
    while world.nature.sent:
        world.work(world.nature.sent.pop(0))


class Fanned(Journeys):
    """A saga at its group, the messages of its branches on the way."""

    links = 1

    def __init__(self):
        super().__init__(most=1)

    def prepare(self, world):
        super().prepare(world)
        [self.id] = self.ids
        world.actors.run_alone(lambda: self.begin(self.id))
        for _ in range(self.links):
            message = world.nature.sent.pop(0)
            world.actors.run_alone(lambda message=message: world.work(message))
        self.messages = list(world.nature.sent)
        world.nature.sent.clear()


class Arriving(Fanned):
    """A saga past its group, the message on the way that takes it to its wait."""

    links = 4


def first_message(world):
    world.work(world.story.messages.pop(0))


def payment(world):
    journeys.tell_that_it_is_paid(world.story.id, "k1")


class Told(Events):
    """Two events of one aggregate that nobody has published."""

    relayed = False

    def __init__(self):
        super().__init__(listeners=("billing",))

    def prepare(self, world):
        super().prepare(world)
        self.teller = self.tellers[0]
        world.actors.run_alone(lambda: self._tell(self.teller, ["a", "b"]))
        if self.relayed:
            world.actors.run_alone(task("relay"))


class Relayed(Told):
    """Two events of one aggregate, each with its messages on the way."""

    relayed = True


def relay(world):
    task("relay")()


def consumer(world):
    """Hear what is on the way; nobody takes it off the broker."""
    for message in list(world.nature.sent):
        world.work(message)


def writer(world):
    world.story._tell(world.story.teller, ["c"])


PAIRS = {
    **{f"step and cancel: {step}": (step, forward, customer) for step in STEPS},
    **{f"step and step: {step}": (step, forward, second_worker) for step in STEPS},
    **{f"step and sweeper: {step}": (step, forward, sweeper) for step in STEPS},
    **{
        f"compensation and zombie: {step}": (step, forward, compensation)
        for step in ("take", "hold")
    },
    "compensation and zombie: capture": ("capture", forward, refusal),
    "branch and branch": (Fanned, first_message, first_message),
    "branch and cancel": (Fanned, first_message, customer),
    "branch and compensation": (Fanned, first_message, compensation),
    "wait and signal": (Arriving, first_message, payment),
    "signal and signal": (Arriving, payment, payment),
    "wait and cancel": (Arriving, first_message, customer),
    "relay and relay": (Told, relay, relay),
    "consumer and consumer": (Relayed, consumer, consumer),
    "relay and writer": (Told, relay, writer),
    "consumer and writer": (Relayed, consumer, writer),
    "writer and writer": (Told, writer, writer),
}
