"""Sagas that want one order: some wait for it, some are refused; timers and children inside."""

from sagas.api import Locked
from sagas.ids import uuid7
from tests.interleaving import books, journeys
from tests.interleaving.stories import Sagas

KINDS = (journeys.QUEUED, journeys.QUEUED, journeys.ALONE)


class Turns(Sagas):
    """Each saga has the order for itself, one after the other."""

    def prepare(self, world):
        super().prepare(world)
        count = world.chance.choice((2, 2, 3))
        self.ids = [uuid7() for _ in range(count)]
        self.kinds = {saga_id: world.chance.choice(KINDS) for saga_id in self.ids}
        self.wrongs = []
        world.chances["start"] = [0] * count
        world.allow("start", world.chance.choice((0, 0, 1)))

    def begin(self, saga_id):
        try:
            journeys.begin(self.kinds[saga_id], saga_id)
        except Locked as locked:
            self._look_at(saga_id, locked)

    def _look_at(self, saga_id, locked):
        """Whoever is refused is told who has it."""
        if self.kinds[saga_id] is journeys.QUEUED:
            self.wrongs.append(f"{saga_id} waits, and was refused")
        if locked.holder.saga_id not in {*self.ids} - {saga_id}:
            self.wrongs.append(f"{saga_id} was refused because of {locked.holder.saga_id}")

    def judge(self, world):
        sessions = world.nature.sessions
        return [
            *self.wrongs,
            *super().judge(world),
            *books.wrongs_of_children(sessions),
            *books.wrongs_of_locks(sessions, world.healed_at),
            *books.wrongs_of_timers(sessions),
        ]
