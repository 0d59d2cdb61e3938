"""Contexts with databases of their own: each step is two commits, and much may come between.

Each context has a connection of its own to the one database, so nothing commits together that
could not; the engine is asked to start, cancel and signal by outbox and inbox.
"""

from django.conf import settings

from sagas.api import NoSuchSaga, ask_to_cancel, transaction
from sagas.orchestration import requests
from sagas.outbox import subscriptions
from tests.interleaving import books
from tests.interleaving.stories import Journeys, Sagas, task
from tests.interleaving.turns import Turns

CONTEXTS = ("orders", "billing", "payments")


def apart():
    """Detach each context from here on; ``Stage.clear`` puts them together again."""
    settings.CONTEXT_DATABASES = {context: context for context in CONTEXTS}
    subscriptions.SUBSCRIPTIONS.clear()
    requests.listen()


class Apart(Sagas):
    """What is asked of the engine is lost in no crash, and done once."""

    BUDGETS = Sagas.BUDGETS | {"relay": (0, 1, 2), "republish": (0, 0, 1), "ask": (0, 0, 1)}

    def prepare(self, world):
        apart()
        super().prepare(world)

    def jobs(self, world):
        yield from super().jobs(world)
        yield from ("relay", "republish")
        if self.begun:
            yield "ask"

    def job(self, world, what):
        if what in {"relay", "republish"}:
            return task(what)
        if what == "ask":
            return lambda: ask(world.chance.choice(self.ids))
        return super().job(world, what)

    def judge(self, world):
        return [*super().judge(world), *books.wrongs_of_requests(world.nature.sessions)]


def ask(saga_id):
    """Cancel in the transaction of a context that cannot reach the engine's rows."""
    try:
        with transaction("orders"):
            ask_to_cancel(saga_id, reason="no", by="alice")
    except NoSuchSaga:
        return


class JourneysApart(Apart, Journeys):
    """Groups, whose branches are two commits each, and a wait."""

    BUDGETS = Journeys.BUDGETS | Apart.BUDGETS


class TurnsApart(Apart, Turns):
    """Who would be refused has been started by then, and compensates."""
