"""What a schedule is about, and what has to be true when it is over."""

from celery import current_app
from django.db import Error as DatabaseError

from orders.models import Customer
from sagas.api import Rejected, cancel, current_run, publish, transaction
from sagas.conf import conf
from sagas.ids import uuid7
from sagas.orchestration import requests
from sagas.orchestration.orchestrator import compensate, park, resume
from sagas.orchestration.status import NoSuchSaga
from sagas.outbox import subscriptions
from tests.integration.sagas import news, trial, trio
from tests.interleaving import books, journeys, presses

LONG_PUBLISHED = conf.REPUBLISH_AFTER + conf.RELAY_LEASE


def task(name):
    """Return what beat has a worker do."""
    return current_app.tasks[f"sagas.{name}"]


class Sagas:
    """Sagas of one definition, with workers, sweepers, a customer and an operator."""

    BUDGETS = {"cancel": (0, 1, 1), "operator": (0, 0, 0, 1), "sweep": (0, 1, 2)}
    SAGA = trial.TRIAL

    def __init__(self, *, most=2):
        self.most = most

    def prepare(self, world):
        count = min(self.most, world.chance.choice((1, 1, 1, 2)))
        self.ids = [uuid7() for _ in range(count)]
        self.begun = 0
        trial.SCRIPT.clear()
        trial.SCRIPT.update(world.provider.script())
        # The click that is the order, and now and then a second one.
        world.chances["start"] = [0] * count
        world.allow("start", world.chance.choice((0, 0, 0, 1)))

    # -- what may happen ---

    def jobs(self, world):
        yield "start"
        yield "sweep"
        if self.begun:
            yield "cancel"
            yield "operator"

    def job(self, world, what):
        saga_id = self.ids[self.begun % len(self.ids)]
        if what == "start":
            self.begun += 1
            return lambda: self.begin(saga_id)
        if what == "cancel":
            return lambda: cancel_if_there(world.chance.choice(self.ids))
        if what == "operator":
            act = world.chance.choice((park, resume, compensate))
            return lambda: act(saga_id, by="bob", reason="asked")
        if what == "resume":
            parked = [row[0] for row in books.parked(world.nature.sessions)]
            return lambda: [resume(each, by="bob", reason="go") for each in parked]
        return task(what)

    def begin(self, saga_id):
        journeys.begin(self.SAGA, saga_id)

    def expects(self, fault):
        """A lost connection is no surprise; nothing else may come out of a task."""
        return isinstance(fault, DatabaseError) and "connection" in str(fault)

    # -- the end ---

    def at_rest(self, world):
        """Also no start is on its way, where the whole suite has detached contexts."""
        sessions = world.nature.sessions
        return not books.unfinished(sessions) and not books.unsettled(sessions)

    def patience(self, world):
        """As long as the next one that is due has to wait, and a little."""
        if not books.unfinished(world.nature.sessions):
            return LONG_PUBLISHED
        if books.parked(world.nature.sessions):
            return 0.001  # the operator comes first
        [(due,)] = world.nature.sessions.rows(
            "SELECT least((SELECT min(due_at) FROM sagas_saga),"
            " (SELECT min(due_at) FROM sagas_steprun))"
        )
        ahead = (due - world.nature.now).total_seconds() if due else 0.0
        return max(ahead, 0.0) + 0.001

    def ticks(self, world):
        parked = books.parked(world.nature.sessions)
        asked = books.unsettled(world.nature.sessions)
        return ["resume"] * bool(parked) + ["sweep"] + ["relay", "republish"] * bool(asked)

    def judge(self, world):
        sessions = world.nature.sessions
        found = books.wrongs_of_sagas(sessions, world.provider)
        return [*found, *presses.wrongs_of_barriers(sessions)]


def cancel_if_there(saga_id):
    try:
        cancel(saga_id, reason="no", by="alice")
    except NoSuchSaga:
        return


class Journeys(Sagas):
    """Sagas with groups, a condition and a wait; the world pays, twice, late or never."""

    BUDGETS = Sagas.BUDGETS | {"signal": (0, 1, 1, 2)}
    SAGA = journeys.JOURNEY

    def prepare(self, world):
        super().prepare(world)
        risky = world.chance.choice((True, False))
        trial.SCRIPT["is_risky"] = lambda: risky
        self.is_risky = risky

    def begin(self, saga_id):
        journeys.begin(self.SAGA, saga_id, is_risky=self.is_risky)

    def jobs(self, world):
        yield from super().jobs(world)
        if self.begun:
            yield "signal"

    def job(self, world, what):
        if what == "signal":
            saga_id, key = world.chance.choice(self.ids), world.chance.choice(("k1", "k2"))
            return lambda: journeys.tell_that_it_is_paid(saga_id, key)
        return super().job(world, what)

    def judge(self, world):
        return [*super().judge(world), *books.wrongs_of_signals(world.nature.sessions)]


class GroupFirst(Journeys):
    """Sagas that begin with a group and have no pivot."""

    BUDGETS = Sagas.BUDGETS
    SAGA = journeys.RESERVE

    def jobs(self, world):
        yield from Sagas.jobs(self, world)


class Senders(GroupFirst):
    """Sagas that send a child and wait for its end."""

    SAGA = journeys.PARENT

    def judge(self, world):
        return [*Sagas.judge(self, world), *books.wrongs_of_children(world.nature.sessions)]


class Trios(Sagas):
    """Sagas of local steps, of which one message takes several along; some say no, some fail.

    Their steps share a commit as far as they can, and each of them may be canceled meanwhile.
    """

    BUDGETS = Sagas.BUDGETS | {"cancel": (0, 0, 1, 1, 2), "sweep": (0, 1, 2)}
    SAGA = trio.TRIO

    def prepare(self, world):
        super().prepare(world)
        count = world.chance.choice((2, 3, 3))
        self.ids = [uuid7() for _ in range(count)]
        world.chances["start"] = [0] * count
        refused = [saga_id for saga_id in self.ids if world.chance.random() < 0.3]
        where = world.chance.choice(("take", "lift", "send"))
        faults = [world.chance.choice((0, 0, 1, 2))]
        trial.SCRIPT[where] = lambda: self._refuse(refused)
        trial.SCRIPT[world.chance.choice(("lower", "put_back"))] = lambda: self._fail(faults)

    def _refuse(self, refused):
        if current_run().saga_id in refused:
            raise Rejected("no_room")

    def _fail(self, faults):
        if faults[0]:
            faults[0] -= 1
            raise RuntimeError("not now")


class Events:
    """Writers, relays and consumers; two contexts listen, and their handlers fail at times."""

    BUDGETS = {"tell": (2, 3), "relay": (1, 2, 3), "republish": (0, 0, 1), "handler": (0, 0, 1)}

    def __init__(self, *, writers=True, listeners=("billing", "payments")):
        self.writers = writers
        self.listeners = listeners

    def prepare(self, world):
        if not self.writers:
            world.chances.pop("tell")
        self.tellers = [uuid7() for _ in range(2)]
        self.faults = len(world.chances.pop("handler"))
        self.chance = world.chance
        subscriptions.SUBSCRIPTIONS.clear()
        requests.listen()
        for context in self.listeners:
            news.listen(context, act=self._hear)
        world.actors.run_alone(self._make_tellers)

    def _make_tellers(self):
        with transaction("orders"):
            for number, teller in enumerate(self.tellers):
                Customer.objects.create(id=teller, email=f"teller{number}@example.com", name="T")

    def _hear(self, text):
        if self.faults and self.chance.random() < 0.5:
            self.faults -= 1
            raise RuntimeError("cannot hear")

    def tell(self, teller, *texts):
        """Publish inside the transaction that is open."""
        for text in texts:
            publish(news.Told(text=text), aggregate=Customer(id=teller))

    def jobs(self, world):
        return ("tell", "relay", "republish")

    def job(self, world, what):
        if what == "tell":
            teller = world.chance.choice(self.tellers)
            texts = world.chance.choice((["a"], ["b", "c"]))
            return lambda: self._tell(teller, texts)
        return task(what)

    def _tell(self, teller, texts):
        with transaction("orders"):
            self.tell(teller, *texts)

    def expects(self, fault):
        return isinstance(fault, DatabaseError) and "connection" in str(fault)

    def at_rest(self, world):
        return not books.unsettled(world.nature.sessions)

    def patience(self, world):
        return LONG_PUBLISHED

    def ticks(self, world):
        return ("relay", "republish")

    def judge(self, world):
        return books.wrongs_of_events(world.nature.sessions, self.listeners)


class Both:
    """Sagas whose steps publish events."""

    def __init__(self):
        self.sagas = Sagas(most=1)
        self.events = Events(writers=False)
        self.BUDGETS = Sagas.BUDGETS | Events.BUDGETS

    def prepare(self, world):
        self.sagas.prepare(world)
        self.events.prepare(world)
        trial.SCRIPT["take"] = lambda: self.events.tell(self.events.tellers[0], _name())
        trial.SCRIPT["put_back"] = lambda: self.events.tell(self.events.tellers[0], _name())

    def jobs(self, world):
        return (*self.sagas.jobs(world), *self.events.jobs(world))

    def job(self, world, what):
        part = self.events if what in {"relay", "republish"} else self.sagas
        return part.job(world, what)

    def expects(self, fault):
        return self.sagas.expects(fault)

    def at_rest(self, world):
        return self.sagas.at_rest(world) and self.events.at_rest(world)

    def patience(self, world):
        if self.sagas.at_rest(world):
            return self.events.patience(world)
        return self.sagas.patience(world)

    def ticks(self, world):
        return (*self.sagas.ticks(world), *self.events.ticks(world))

    def judge(self, world):
        sessions = world.nature.sessions
        told = books.told(sessions)
        done = books.effects(sessions, self.sagas.ids[0])
        wanted = [what for what in ("take", "put_back") if what in done]
        wrongs = [] if told == wanted else [f"{wanted} happened, {told} was told"]
        return [*wrongs, *self.sagas.judge(world), *self.events.judge(world)]


def _name():
    run = current_run()
    return "take" if run.direction == "do" else "put_back"
