"""One schedule: sagas, processes, a broker and faults, each step of it drawn from one seed."""

import random
from dataclasses import dataclass
from hashlib import sha256

from celery import current_app
from celery.exceptions import Ignore

from sagas.conf import conf
from sagas.orchestration.steps import StepRejected
from tests.interleaving import scheduler
from tests.interleaving.messages import Message
from tests.interleaving.provider import Provider

# How often each may happen in a schedule at the most; few of them in any one of them, so that a
# failing schedule is short and the combinations vary.
BUDGETS = {
    "kill": (0, 0, 1, 1, 2),
    "answer lost": (0, 0, 0, 1),
    "freeze": (0, 1, 1),
    "double": (0, 0, 1, 2),
    "lose": (0, 0, 1),
    "forget": (0, 0, 1),
    "refuse": (0, 0, 1),
    "deadline": (0, 0, 0, 1),
    "time": (0, 1, 2),
}
WHIMS = {"no": (0, 0, 1), "lost": (0, 0, 1), "down": (0, 0, 1)}
# After how many decisions what may happen has its chance.
LENGTHS = (25, 60, 110)
ROUNDS = 60
AGAIN = "python3 manage.py test tests/interleaving -k same_schedule"


def _named(act):
    return act.__name__.removeprefix("_")


@dataclass
class Verdict:
    """What became of a schedule."""

    seed: int | str
    """Or which pair it was."""
    trace: list[str]
    wrongs: list[str]

    @property
    def digest(self):
        return sha256("\n".join(self.trace).encode()).hexdigest()[:12]

    def __str__(self):
        """Return what somebody needs who has to find out why."""
        return "\n  ".join(
            [
                f"schedule {self.seed}, {len(self.trace)} decisions:",
                *self.trace,
                *(f"WRONG: {wrong}" for wrong in self.wrongs),
                f"again: {AGAIN} --schedule {self.seed} -s"
                if isinstance(self.seed, int)
                else "again: the same test, which has no chance in it",
            ]
        )


class World:
    """Draws what happens next until nothing can, then lets everything heal."""

    def __init__(self, actors, nature, seed, story):
        self.actors = actors
        self.nature = nature
        self.seed = seed
        self.story = story
        self.chance = random.Random(seed)
        self.length = self.chance.choice(LENGTHS)
        self.chances = {}
        """Of what may still happen: from which decision on, in order."""
        for what, often in (BUDGETS | story.BUDGETS).items():
            self.allow(what, self.chance.choice(often))
        whims = {what: self.chance.choice(often) for what, often in WHIMS.items()}
        self.provider = Provider(self.chance, whims)
        self.stays = self.chance.choice((0.2, 0.6, 0.9))
        self.lease = conf.LEASE + 1.0
        self.frozen = None
        self.last = None
        self.healed_at = None
        self.trace = []
        self.faults = []

    # -- the schedule ---

    def run(self):
        """Carry the schedule out and judge it."""
        with self.actors.nobody_left():
            self.story.prepare(self)
            while self._decide():
                pass
            self.heal()
        return Verdict(self.seed, self.trace, self.wrongs())

    def wrongs(self):
        """Return all that has been found to be wrong."""
        return [*self.provider.wrongs, *self.faults, *self.story.judge(self)]

    def able(self):
        """Return who could go on; look also at those who came to their end after a wait."""
        able = self.actors.ready()
        for actor in self.actors.actors:
            self._look_at(actor)
        return able

    def _decide(self):
        ready = self.able()
        if self.frozen in ready and self.actors.blocked():
            self._thaw()  # somebody waits for it
        running = [actor for actor in ready if actor is not self.frozen]
        acts = self._acts(ready, len(self.trace))
        if acts and self.chance.random() < 0.5:
            self._do(self.chance.choice(acts))
        elif self.last in running and self.chance.random() < self.stays:
            self.go_on(self.last)
        elif running or self._takes():
            going = [(self.go_on, actor) for actor in running * 2]
            self._do(self.chance.choice([*going, *acts, *self._takes()]))
        else:
            return self._when_nothing_runs(ready)
        return True

    def _do(self, chosen):
        chosen[0](*chosen[1:])

    def _when_nothing_runs(self, ready):
        """Let the next thing happen before its time, or wake who sleeps; False at the end."""
        acts = self._acts(ready, None)
        if acts:
            self._do(self.chance.choice(acts))
        elif self.frozen is not None:
            self._thaw()
        else:
            return self._unblocked()
        return True

    def _thaw(self):
        self.note("thaw")
        self.frozen = None

    def _unblocked(self):
        if not self.actors.blocked():
            return False
        self.able()
        return True

    def go_on(self, actor):
        self.note(f"{actor.name} {actor.at}")
        self.last = actor
        self.actors.give(actor)
        self._look_at(actor)

    def _look_at(self, actor):
        if actor.busy or actor.fault is None:
            return
        fault, trace = actor.fault
        actor.fault = None
        self.note(f"{actor.name} raised {type(fault).__name__}")
        if not self.story.expects(fault):
            self.faults.append(f"{actor.name} raised {fault!r}\n{trace}")

    def note(self, what):
        self.trace.append(what)

    # -- what may happen beside the running of threads ---

    def allow(self, what, times):
        """Let something happen so often, each from a decision of its own on."""
        drawn = [self.chance.randrange(self.length) for _ in range(times)]
        self.chances[what] = sorted([*self.chances.get(what, []), *drawn])

    def _takes(self):
        if self.actors.idle() is None or self.actors.blocked():
            return []
        return [(self._take, message) for message in self.nature.sent[:4]]

    def _acts(self, ready, now):
        acts = []
        if self.actors.idle() is not None and not self.actors.blocked():
            acts += [(self._job, what) for what in self.story.jobs(self) if self._may(what, now)]
        if self.nature.sent:
            acts += [(act,) for act in (self._double, self._lose) if self._may(_named(act), now)]
        acts += [
            (act,)
            for act in (self._time, self._forget, self._refuse)
            if self._may(_named(act), now)
        ]
        return [*acts, *self._blows(ready, now)]

    def _blows(self, ready, now):
        """What may befall a thread that is under way."""
        blows = []
        if self._may("kill", now):
            blows += [(self._kill, actor) for actor in ready]
        if self._may("freeze", now) and self.frozen is None:
            blows += [(self._freeze, actor) for actor in ready]
        if self._may("answer lost", now):
            blows += [
                (self._lose_answer, actor, when)
                for actor in ready
                if actor.at == "COMMIT"
                for when in ("before", "after")
            ]
        return blows

    def _may(self, what, now):
        chances = self.chances.get(what)
        return bool(chances) and (now is None or chances[0] <= now)

    def spend(self, what):
        self.chances[what].pop(0)

    def _take(self, message):
        self.nature.sent.remove(message)
        self.begin(lambda: self.work(message), str(message))

    def _job(self, what):
        self.spend(what)
        self.begin(self.story.job(self, what), what)

    def begin(self, job, label):
        actor = self.actors.idle()
        self.note(f"{actor.name} begins {label}")
        actor.begin(job, f"begin {label}")
        self.last = actor

    def work(self, message):
        """Run the first link of a message and send the rest, as a worker of Celery does."""
        link = message.links[0]
        try:
            current_app.tasks[link.task](*message.args)
        except Ignore:
            return
        except StepRejected:
            self._send_errbacks(message)
            return
        except Exception:
            self._send_errbacks(message)
            raise
        if message.links[1:]:
            scheduler.point("publish the next link")
            self.nature.sent.append(Message(message.links[1:], message.errbacks))

    def _send_errbacks(self, message):
        for errback in message.errbacks:
            scheduler.point("publish link_error")
            self.nature.sent.append(Message.of(errback))

    def _double(self):
        self.spend("double")
        message = self.chance.choice(self.nature.sent)
        self.note(f"double {message}")
        self.nature.sent.append(message)

    def _lose(self):
        self.spend("lose")
        message = self.chance.choice(self.nature.sent)
        self.note(f"lose {message}")
        self.nature.sent.remove(message)

    def _time(self):
        self.spend("time")
        seconds = self.chance.choice((conf.HINT_GRACE + 0.1, self.lease, self.lease))
        if self.chances["deadline"]:
            self.spend("deadline")
            seconds = 301.0
        self.note(f"{seconds} seconds pass")
        self.nature.pass_time(seconds)

    def _forget(self):
        self.spend("forget")
        self.note("Redis forgets")
        self.nature.redis.keys.clear()

    def _refuse(self):
        self.spend("refuse")
        self.note("the broker refuses the next message")
        self.nature.refusals += 1

    def _kill(self, actor):
        self.spend("kill")
        self.note(f"KILL {actor.name} at {actor.at}")
        self.actors.kill(actor)

    def _freeze(self, actor):
        self.spend("freeze")
        self.note(f"freeze {actor.name} at {actor.at}")
        self.frozen = actor
        # So that the others can get past it while it sleeps.
        self.allow("time", 2)
        self.allow("sweep", 2)

    def _lose_answer(self, actor, when):
        self.spend("answer lost")
        self.note(f"{actor.name} loses its connection {when} the COMMIT")
        actor.loses = when
        self.actors.give(actor)
        self._look_at(actor)

    # -- the end ---

    def heal(self):
        """From here on nothing goes wrong, and everything has to come to rest."""
        self.note("heal")
        self.healed_at = self.nature.now
        self.nature.refusals = 0
        self.provider.whims.clear()
        for _ in range(ROUNDS):
            while self.nature.sent:
                message = self.nature.sent.pop(0)
                self._alone(lambda message=message: self.work(message), str(message))
            if self.story.at_rest(self):
                return
            self.nature.pass_time(self.story.patience(self))
            for what in self.story.ticks(self):
                self._alone(self.story.job(self, what), what)

    def _alone(self, job, label):
        self.note(label)
        self._look_at(self.actors.run_alone(job, label))
