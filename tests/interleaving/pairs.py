"""Two processes, and every way in which their statements can follow on one another.

The way of PostgreSQL's isolation specs, but nobody writes the permutations down: a schedule is
played, and wherever another choice was open it is played again with that choice, until no choice
is left. ``switches`` bounds how often one of them is interrupted while it could have gone on;
without it every interleaving is played.
"""

from dataclasses import dataclass

from sagas.failpoints import PLACES
from tests.interleaving.world import Verdict, World


@dataclass(frozen=True)
class Choice:
    """One decision: who could have gone on, who did, and who had gone on before."""

    able: tuple[str, ...]
    chosen: str
    before: str | None

    def cost(self, name):
        """Whether choosing this one interrupts another."""
        return int(self.before in self.able and name != self.before)


class Pair:
    """A story with two jobs that run beside one another."""

    def __init__(self, stage, story, *jobs, switches=None):
        self.stage = stage
        self.story = story
        self.jobs = jobs
        self.switches = switches
        self.played = 0

    def verdicts(self):
        """Play every schedule there is."""
        open_prefixes = [()]
        while open_prefixes:
            prefix = open_prefixes.pop()
            verdict, choices = self.play(prefix)
            self.played += 1
            yield verdict
            open_prefixes += self._others(choices, len(prefix))

    def _others(self, choices, known):
        """Return the beginnings of schedules that part from this one after what was known."""
        spent = 0
        for number, choice in enumerate(choices):
            if number >= known:
                for name in choice.able:
                    affordable = self.switches is None or spent + choice.cost(name) <= self.switches
                    if name != choice.chosen and affordable:
                        yield (*(each.chosen for each in choices[:number]), name)
            spent += choice.cost(choice.chosen)

    def play(self, prefix):
        """Play the schedule that begins like this and goes on without interruptions."""
        self.stage.clear()
        self.stage.nature.reset(0)
        story = self.story()
        world = World(self.stage.actors, self.stage.nature, 0, story)
        world.chances = dict.fromkeys(world.chances, ())
        world.provider.whims.clear()
        choices = []
        with world.actors.nobody_left():
            story.prepare(world)
            for job in self.jobs:
                world.begin(lambda job=job: job(world), job.__name__)
            while able := world.able() or world.actors.blocked():
                self._decide(world, able, prefix, choices)
            world.heal()
        names = [job.__name__ for job in self.jobs]
        return Verdict(f"of {' and '.join(names)}", world.trace, world.wrongs()), choices

    def _decide(self, world, able, prefix, choices):
        names = tuple(actor.name for actor in able if not actor.blocked)
        if not names:
            return
        before = choices[-1].chosen if choices else None
        wanted = prefix[len(choices)] if len(choices) < len(prefix) else None
        chosen = wanted or (before if before in names else names[0])
        assert chosen in names, f"{chosen} cannot go on as it did before: {names}"
        choices.append(Choice(names, chosen, before))
        [actor] = [actor for actor in able if actor.name == chosen]
        world.go_on(actor)
        while actor.busy and not actor.blocked and _is_failpoint(actor.at):
            world.go_on(actor)


def _is_failpoint(place):
    """Nothing of what others see happens there."""
    return place.partition("/")[0] in PLACES
