"""An operator who meets a worker, a customer, time, or another operator."""

from django.conf import settings

from sagas.api import cancel, park, resume, skip
from sagas.core.keys import Direction
from sagas.models import SagaInstance
from sagas.orchestration.branches import run_branch
from sagas.orchestration.executor import run_link
from tests.interleaving import presses
from tests.interleaving.apart import Apart
from tests.interleaving.meetings import STEPS, Begun, customer, forward, work_off
from tests.interleaving.stories import GroupFirst, task

PACK, HOLD = range(2)
"""The branches of the group that may both be missed."""
LATE = 301.0


class Pressed:
    """What is pressed is counted: no parking is ended twice."""

    wins = None
    """How many of the presses of the pair are taken, where it is the same in every order."""

    def judge(self, world):
        sessions = world.nature.sessions
        wrongs = presses.wrongs_of_acts(sessions, apart=bool(settings.CONTEXT_DATABASES))
        [(taken,)] = sessions.rows(
            "SELECT count(*) FROM sagas_operatoraction WHERE by = 'carol' AND outcome = 'done'"
        )
        if self.wins not in {None, taken}:
            wrongs.append(f"{taken} of the presses were taken, not {self.wins}")
        return [*super().judge(world), *wrongs]


class Worked(Pressed, Begun):
    """A saga that a worker is about to take up."""


class Stopped(Pressed, Begun):
    """A saga that was parked before a step; one of two presses lets it go on."""

    wins = 1

    def prepare(self, world):
        super().prepare(world)
        world.actors.run_alone(lambda: stop(self.id))
        world.nature.sent.clear()


class Free(Stopped):
    """A cancel may come before the press."""

    wins = None


class Undoing(Pressed, Begun):
    """A saga on its way back, at a step that was done."""

    def prepare(self, world):
        super().prepare(world)
        world.actors.run_alone(lambda: forward(world))
        world.actors.run_alone(lambda: customer(world))
        world.actors.run_alone(lambda: back(world, self.number + 1, STEPS["book"]))
        world.nature.sent.clear()


class StoppedUndoing(Undoing):
    """The same, parked."""

    wins = 1

    def prepare(self, world):
        super().prepare(world)
        world.actors.run_alone(lambda: stop(self.id))


class Fanning(Pressed, GroupFirst):
    """A group of a local and a remote branch, of which nothing has run."""

    done = ()

    def __init__(self):
        super().__init__(most=1)

    def prepare(self, world):
        super().prepare(world)
        [self.id] = self.ids
        world.actors.run_alone(lambda: self.begin(self.id))
        for number in self.done:
            world.actors.run_alone(lambda number=number: run_branch(self.id, number))
        self.meet(world)
        world.nature.sent.clear()

    def meet(self, world):
        """Nobody has stopped it."""


class FanStopped(Fanning):
    """The same, parked; one of two presses lets it go on."""

    wins = 1

    def meet(self, world):
        world.actors.run_alone(lambda: stop(self.id))


class FanFree(FanStopped):
    """A cancel may come before the press."""

    wins = None


class LastLeft(FanStopped):
    """One branch is left, so that whoever settles it joins the group."""

    done = (PACK,)


class LastRunning(Fanning):
    """The same, not parked."""

    done = (PACK,)


class WorkedApart(Worked, Apart):
    """A step that is two commits."""


class StoppedApart(Stopped, Apart):
    """A skip that is two commits."""


class FanningApart(Fanning, Apart):
    """Branches and skips that are two commits."""


class LastLeftApart(LastLeft, Apart):
    """A skip of two commits that joins the group."""


def stop(saga_id):
    park(saga_id, by="alice", reason="look")


def parker(world):
    park(world.story.id, by="bob", reason="stop")


def resumer(world):
    resume(world.story.id, by="carol", reason="go on")


def skipper(world):
    skip(world.story.id, by="carol", reason="by hand")


def skipper_of(number):
    """Return who settles one branch of the group."""
    name = ("pack", "hold")[number]

    def skips(world):
        skip(world.story.id, by="carol", reason="by hand", step=name)

    return skips


def skip_and_go_on(world):
    """Stop the saga, settle its step by hand, and let a worker carry on."""
    parker(world)
    skipper(world)
    work_off(world)


def skip_of(number):
    """Return who stops the saga and settles one branch of the group."""

    def stops_and_skips(world):
        parker(world)
        skipper_of(number)(world)
        work_off(world)

    return stops_and_skips


def other_life(world):
    """Stop the saga and let it go on at once, with another worker."""
    parker(world)
    resumer(world)
    work_off(world)


def all_the_way_by_hand(world):
    """Cancel; then each step back is settled by a person."""
    cancel(world.story.id, reason="no", by="alice")
    while SagaInstance.objects.filter(id=world.story.id, finished_at=None).exists():
        parker(world)
        skipper(world)


def too_late(world):
    """The deadline has come, and the sweeper with it."""
    world.nature.pass_time(LATE)
    task("sweep")()


def back(world, low=None, high=None):
    """Undo the step, or those down to it, as the message of a worker asks."""
    low = world.story.number if low is None else low
    run_link(world.story.id, low, high or low, Direction.UNDO, swept=True)


def branch(number):
    """Return the worker of one branch."""

    def works(world):
        run_branch(world.story.id, number)

    return works


def _at(kind, step):
    return lambda: kind(step)


PRESSED_PAIRS = {
    **{f"park and step: {step}": (_at(Worked, step), forward, parker) for step in STEPS},
    **{
        f"park and cancel: {step}": (_at(Worked, step), parker, customer)
        for step in ("take", "capture")
    },
    **{
        f"park, resume and step: {step}": (_at(Worked, step), forward, other_life)
        for step in ("take", "hold", "capture", "book")
    },
    "park and deadline": (_at(Worked, "take"), parker, too_late),
    "park and undo": (_at(Undoing, "hold"), back, parker),
    "resume and resume": (_at(Stopped, "take"), resumer, resumer),
    "resume and cancel": (_at(Free, "take"), resumer, customer),
    "resume and deadline": (_at(Free, "take"), resumer, too_late),
    "skip and resume": (_at(Stopped, "take"), skipper, resumer),
    "skip and skip": (_at(Stopped, "take"), skipper, skipper),
    "skip and cancel": (_at(Free, "take"), skipper, customer),
    "skip and deadline": (_at(Free, "take"), skipper, too_late),
    "skip and step": (_at(Worked, "take"), forward, skip_and_go_on),
    **{
        f"skip and undo: {step}": (_at(Undoing, step), back, skip_and_go_on)
        for step in ("take", "hold")
    },
    "skip and resume: on the way back": (_at(StoppedUndoing, "hold"), skipper, resumer),
    **{
        f"the way back by hand and zombie: {step}": (
            _at(Worked, step),
            forward,
            all_the_way_by_hand,
        )
        for step in ("take", "hold")
    },
    **{
        f"park and branch: {name}": (Fanning, branch(number), parker)
        for number, name in enumerate(("pack", "hold"))
    },
    **{
        f"park, resume and branch: {name}": (Fanning, branch(number), other_life)
        for number, name in enumerate(("pack", "hold"))
    },
    **{
        f"skip and branch: {name}": (Fanning, branch(number), skip_of(number))
        for number, name in enumerate(("pack", "hold"))
    },
    "skip and sibling": (Fanning, branch(PACK), skip_of(HOLD)),
    "skip and last branch": (LastRunning, branch(HOLD), skip_and_go_on),
    "skip and skip: two branches": (FanStopped, skipper_of(PACK), skipper_of(HOLD)),
    "skip and resume: a branch": (FanStopped, skipper_of(PACK), resumer),
    "skip and resume: the last branch": (LastLeft, skipper, resumer),
    "skip and cancel: a branch": (FanFree, skipper_of(HOLD), customer),
    "apart, park and step: hold": (_at(WorkedApart, "hold"), forward, parker),
    "apart, skip and step": (_at(WorkedApart, "take"), forward, skip_and_go_on),
    "apart, skip and resume": (_at(StoppedApart, "take"), skipper, resumer),
    "apart, skip and skip": (_at(StoppedApart, "take"), skipper, skipper),
    "apart, the way back by hand and zombie: hold": (
        _at(WorkedApart, "hold"),
        forward,
        all_the_way_by_hand,
    ),
    "apart, skip and branch: hold": (FanningApart, branch(HOLD), skip_of(HOLD)),
    "apart, skip and resume: the last branch": (LastLeftApart, skipper, resumer),
}
"""By their names: what is there, and the two that meet."""
