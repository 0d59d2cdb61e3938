"""Operators at work: they park, resume, skip and turn round while everything else goes on."""

from django.conf import settings

from sagas.api import compensate, park, resume, skip
from sagas.models import SagaInstance
from sagas.orchestration import pressable
from tests.interleaving import presses
from tests.interleaving.apart import Apart
from tests.interleaving.stories import GroupFirst, Journeys, Sagas, Senders, Trios
from tests.interleaving.turns import Turns

ACTS = ("park", "park again", "resume by hand", "skip", "park and skip", "turn round")


class Operated(Sagas):
    """Several operators press whatever there is, at sagas and at children alike."""

    BUDGETS = Sagas.BUDGETS | {
        "operator": (0,),
        "park": (1, 1, 2),
        "park again": (0, 1),
        "resume by hand": (0, 1, 2),
        "skip": (0, 1, 2),
        "park and skip": (0, 1, 1, 2),
        "turn round": (0, 0, 0, 1),
    }

    def jobs(self, world):
        yield from super().jobs(world)
        if self.begun:
            yield from ACTS

    def job(self, world, what):
        if what not in ACTS:
            return super().job(world, what)
        there = world.nature.sessions.rows("SELECT id FROM sagas_saga ORDER BY id")
        # What has not begun is not there to be pressed at either.
        saga_id = world.chance.choice([row[0] for row in there] or self.ids)
        by = world.chance.choice(("bob", "carol"))
        return lambda: press(what, saga_id, by)

    def judge(self, world):
        apart = bool(settings.CONTEXT_DATABASES)
        wrongs = presses.wrongs_of_acts(world.nature.sessions, apart=apart)
        return [*super().judge(world), *wrongs]


def press(what, saga_id, by):
    """Do what a button does; to skip, the operator looks at the page first."""
    told = {"by": by, "reason": what}
    if what.startswith("park"):
        park(saga_id, **told)
    if what == "resume by hand":
        resume(saga_id, **told)
    if what == "turn round":
        compensate(saga_id, **told)
    if what.endswith("skip"):
        skip(saga_id, **told, step=shown(saga_id))


def shown(saga_id):
    """Return which branch of a group is offered first, where more than one is left."""
    saga = SagaInstance.objects.filter(id=saga_id).first()
    return next(iter(pressable.branches(saga)), None) if saga is not None else None


class OperatedJourneys(Operated, Journeys):
    """Groups and a wait."""

    BUDGETS = Journeys.BUDGETS | Operated.BUDGETS


class OperatedGroupFirst(Operated, GroupFirst):
    """A group with a remote branch that may be missed."""


class OperatedSenders(Operated, Senders):
    """A parent and its child, each with operators of its own."""


class OperatedTrios(Operated, Trios):
    """One of those that would share a commit is parked, skipped or turned round."""

    BUDGETS = Trios.BUDGETS | Operated.BUDGETS


class OperatedTurns(Operated, Turns):
    """Who waits for the order is parked, and who has it."""


class OperatedApart(Operated, Apart):
    """Each step is two commits, and so is a skip."""

    BUDGETS = Apart.BUDGETS | Operated.BUDGETS


class OperatedGroupFirstApart(Operated, Apart, GroupFirst):
    """The same of a group."""

    BUDGETS = Apart.BUDGETS | Operated.BUDGETS


class OperatedJourneysApart(Operated, Apart, Journeys):
    """The same of groups and a wait."""

    BUDGETS = Journeys.BUDGETS | Apart.BUDGETS | Operated.BUDGETS
