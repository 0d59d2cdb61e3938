"""The stand-ins that a rehearsed saga works with: effects in a table, and one other side."""

from collections import Counter, defaultdict
from enum import Enum
from uuid import UUID

from sagas.core.commands import Rejected, Unknown
from sagas.core.keys import Direction
from sagas.orchestration.run import current_run
from sagas.transactions import connection_of

TABLE = """
CREATE TABLE IF NOT EXISTS public.rehearsed_effect (saga uuid, step text, direction text);
GRANT ALL ON public.rehearsed_effect TO PUBLIC;
TRUNCATE public.rehearsed_effect;
"""


class Answer(Enum):
    """What a participant does when it is asked once."""

    REJECT = "reject"
    FAULT = "fault"
    UNKNOWN_DONE = "unknown, though done"
    UNKNOWN_NOT_DONE = "unknown, and not done"


class ParticipantFault(Exception):
    """The participant is out of order."""


class OtherSide:
    """A payment provider in two lines: what is done is done once, what is closed stays closed."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.held: set[str] = set()
        self.closed: set[str] = set()
        self.carried_out: Counter[str] = Counter()

    def carry_out(self, key: str) -> None:
        """Do it once, however often it is asked under this key.

        :raises Rejected: if it has been closed
        """
        if key in self.closed:
            raise Rejected("closed")
        if key not in self.held:
            self.held.add(key)
            self.carried_out[key] += 1

    def close(self, key: str) -> None:
        """Undo it, and refuse it from now on (a sticky cancel)."""
        self.closed.add(key)
        self.held.discard(key)


class Participants:
    """What every step of one rehearsed saga does, and what has come of it."""

    def __init__(self) -> None:
        """Let every step succeed."""
        self.other_side = OtherSide()
        self.answers: defaultdict[tuple[str, Direction], list[Answer]] = defaultdict(list)
        self.stubborn: set[tuple[str, Direction]] = set()
        self.unwanted: set[str] = set()
        """Steps whose condition is false."""

    def heal(self) -> None:
        """Let every step succeed from now on."""
        self.answers.clear()
        self.stubborn.clear()

    def forget(self) -> None:
        """Forget what has happened, for a rehearsal from the start."""
        self.heal()
        self.unwanted.clear()
        self.other_side = OtherSide()

    def next_answer(self, step: str, direction: Direction) -> Answer | None:
        """Return what the participant does now; None when it succeeds."""
        planned = self.answers[step, direction]
        if not planned:
            return None
        return planned[0] if (step, direction) in self.stubborn else planned.pop(0)

    def act(self) -> None:
        """Carry out a local step: fail as planned, or write its effect."""
        run = current_run()
        answer = self.next_answer(run.step, run.direction)
        if answer is Answer.REJECT:
            raise Rejected("refused")
        if answer is not None:
            raise ParticipantFault
        self.write()

    def write(self) -> None:
        """Write the effect of the step that runs, in its transaction."""
        run = current_run()
        with connection_of(run.saga_name.partition(".")[0]).cursor() as cursor:
            cursor.execute(
                "INSERT INTO public.rehearsed_effect VALUES (%s, %s, %s)",
                [run.saga_id, run.step, run.direction],
            )

    def call(self, key: str) -> str:
        """Ask the other side: do it on the way forward, undo it on the way back."""
        run = current_run()
        answer = self.next_answer(run.step, run.direction)
        if answer is Answer.REJECT:
            raise Rejected("refused")
        if answer is Answer.FAULT:
            raise ParticipantFault
        if answer is not Answer.UNKNOWN_NOT_DONE:
            if run.direction is Direction.DO:
                self.other_side.carry_out(key)
            else:
                self.other_side.close(key)
        if answer is not None:
            raise Unknown(answer.value)
        return "done"

    def make_final(self, key: str) -> str | None:
        """Answer for a pivot whether it has happened after all; else it never will."""
        if key in self.other_side.held:
            return "done"
        self.other_side.close(key)
        return None


def effects(saga_id: UUID) -> Counter[tuple[str, str]]:
    """Return how often each step has taken effect in each direction, as committed."""
    with connection_of("sagas").cursor() as cursor:
        cursor.execute(
            "SELECT step, direction, count(*) FROM public.rehearsed_effect"
            " WHERE saga = %s GROUP BY 1, 2",
            [saga_id],
        )
        return Counter({(step, direction): count for step, direction, count in cursor.fetchall()})


def make_table() -> None:
    """Make the table of effects, or empty it."""
    with connection_of("sagas").cursor() as cursor:
        cursor.execute(TABLE)
