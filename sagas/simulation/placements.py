"""Where a fault may strike: every kind at every step, on the way forward and on the way back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sagas.core.definition import Kind, Step
from sagas.core.keys import Direction
from sagas.core.waits import Otherwise, SignalAwaited
from sagas.models.saga import Status
from sagas.simulation import stage as on_stage
from sagas.simulation.participants import Answer
from sagas.simulation.stage import Stage
from sagas.simulation.understudy import Understudy

DONE = frozenset({Status.COMPLETED})
BACK = frozenset({Status.COMPENSATED})
EITHER = DONE | BACK
MESSAGES = ("(messages)", "(messages back)")
"""The rows of what strikes no step but the messages of the whole saga, forth and back."""

COLUMNS = {
    "no": "the participant says no",
    "fault": "it is out of order once",
    "stuck": "it stays out of order, until an operator resumes the parked saga",
    "unknown+": "no answer, though it was done",
    "unknown-": "no answer, and it was not done",
    "killed": "the worker dies, at each place around the step",
    "frozen": "the worker freezes, others end the saga, it thaws",
    "canceled": "the customer cancels at that moment",
    "late": "frozen, canceled and undone by others, then it thaws",
    "overdue": "the deadline is over at that moment",
    "slow": "the time for the step is over at that moment",
    "slower": "it is over while the worker is frozen, others go on, then it thaws",
    "silent": "the signal never comes",
    "skipped": "its condition is false",
    "twice": "every message is delivered twice",
    "lost": "a message is lost, each in turn",
}

# Places at which no transaction is open, so that somebody else can act meanwhile.
_OPEN = ("intent.committed", "call.returned", "step.committed", "wait.committed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One fault at one place."""

    row: str
    column: str
    detail: str
    """What tells it from others of the same cell: the place, the message."""
    prepare: tuple[Callable[[Stage], None], ...]
    expects: frozenset[str]
    stuck: bool = False
    """Whether the saga parks first, and goes on when an operator resumes it."""

    @property
    def name(self) -> str:
        """Return how the placement is told in one line."""
        return f"{self.row} {self.column} {self.detail}".strip()


def answer(step: str, direction: Direction, what: Answer) -> Callable[[Stage], None]:
    """Let a participant answer so, once."""
    return lambda stage: stage.play.participants.answers[step, direction].append(what)


def stubborn(step: str, direction: Direction) -> Callable[[Stage], None]:
    """Let a participant stay out of order until it is healed."""

    def prepare(stage: Stage) -> None:
        stage.play.participants.answers[step, direction].append(Answer.FAULT)
        stage.play.participants.stubborn.add((step, direction))

    return prepare


def at(place: str, detail: str, *happenings: on_stage.Happening) -> Callable[[Stage], None]:
    """Let things happen when a worker comes by a place."""

    def prepare(stage: Stage) -> None:
        for happening in happenings:
            stage.at(place, detail, happening)

    return prepare


def way_back(play: Understudy) -> tuple[Callable[[Stage], None], ...] | None:
    """Return what sends a saga back from as far as it can get; None if nothing can."""
    last = [s for s in play.saga.steps if s.kind in {Kind.COMPENSATABLE, Kind.PIVOT}]
    return (answer(last[-1].name, Direction.DO, Answer.REJECT),) if last else None


def placements(play: Understudy) -> Iterator[Placement]:
    """Yield every placement of one fault over the steps of a saga."""
    forth = _walk(play, ())
    for number, step in enumerate(play.saga.steps):
        yield from _answers(play, step, Direction.DO, (), DONE)
        yield from _strikes(step.name, step.name, forth, (), DONE)
        yield from _interventions(play, number, step, forth)
        if step.when is not None:
            yield Placement(
                row=step.name,
                column="skipped",
                detail="",
                prepare=(partial(_unwanted, step.name),),
                expects=DONE,
            )
    yield from _messages(MESSAGES[0], forth, (), DONE)
    trigger = way_back(play)
    if trigger is None:
        return
    back = _walk(play, trigger)
    for step in reversed(play.saga.steps):
        yield from _answers(play, step, Direction.UNDO, trigger, BACK)
        yield from _strikes(f"undo {step.name}", f"undo.{step.name}", back, trigger, BACK)
    yield from _messages(MESSAGES[1], back, trigger, BACK)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Walk:
    """What an undisturbed saga comes by."""

    places: tuple[tuple[str, str], ...]
    published: int


def _walk(play: Understudy, prepare: tuple[Callable[[Stage], None], ...]) -> _Walk:
    stage = Stage(play)
    for each in prepare:
        each(stage)
    stage.perform()
    return _Walk(places=tuple(dict.fromkeys(stage.places)), published=stage.published)


def _answers(
    play: Understudy,
    step: Step[Any],
    direction: Direction,
    trigger: tuple[Callable[[Stage], None], ...],
    expects: frozenset[str],
) -> Iterator[Placement]:
    forward = direction is Direction.DO
    if (step.do if forward else step.undo) is None or (not forward and _has_nothing(play, step)):
        return
    place = partial(Placement, row=step.name if forward else f"undo {step.name}", detail="")
    say = partial(answer, step.name, direction)
    if forward and step.kind is not Kind.RETRIABLE:
        yield place(column="no", prepare=(say(Answer.REJECT),), expects=BACK)
    yield place(column="fault", prepare=(*trigger, say(Answer.FAULT)), expects=expects)
    yield place(
        column="stuck",
        prepare=(*trigger, stubborn(step.name, direction)),
        expects=expects,
        stuck=True,
    )
    if step.name in (play.remote if forward else play.remote_undo):
        for column, what in (
            ("unknown+", Answer.UNKNOWN_DONE),
            ("unknown-", Answer.UNKNOWN_NOT_DONE),
        ):
            yield place(column=column, prepare=(*trigger, say(what)), expects=expects)


def _has_nothing(play: Understudy, step: Step[Any]) -> bool:
    """Return whether a step is the refused one, of which a local participant keeps nothing."""
    last = [s for s in play.saga.steps if s.kind in {Kind.COMPENSATABLE, Kind.PIVOT}]
    return bool(last) and last[-1].name == step.name and step.name not in play.remote


def _strikes(
    row: str,
    detail: str,
    walk: _Walk,
    trigger: tuple[Callable[[Stage], None], ...],
    expects: frozenset[str],
) -> Iterator[Placement]:
    for place, where in walk.places:
        if where != detail:
            continue
        strike = partial(Placement, row=row, detail=place, expects=expects)
        yield strike(column="killed", prepare=(*trigger, at(place, where, on_stage.kill)))
        if place in _OPEN:
            yield strike(column="frozen", prepare=(*trigger, at(place, where, on_stage.freeze)))


def _interventions(
    play: Understudy, number: int, step: Step[Any], walk: _Walk
) -> Iterator[Placement]:
    may_end = EITHER if number >= len(play.saga.steps) - 1 else None
    for place, where in walk.places:
        if where != step.name or place not in _OPEN:
            continue
        expects = may_end or (DONE if _is_past(play, number, place) else BACK)
        intervene = partial(Placement, row=step.name, detail=place)
        for column, happenings in (
            ("canceled", (on_stage.cancel,)),
            ("late", (on_stage.cancel, on_stage.freeze)),
        ):
            yield intervene(
                column=column, prepare=(at(place, where, *happenings),), expects=expects
            )
        # A link looks at the clock as it stood when it took the saga: it may get past in time.
        yield intervene(
            column="overdue",
            prepare=(at(place, where, on_stage.overdue),),
            expects=expects | DONE,
        )
    yield from _out_of_time(play, number, step, walk)
    if isinstance(step.awaits, SignalAwaited):
        goes_on = step.awaits.otherwise is Otherwise.GO_ON
        yield Placement(
            row=step.name,
            column="silent",
            detail="",
            prepare=(lambda stage: stage.silent.add(step.name),),
            expects=DONE if goes_on else BACK,
        )


def _out_of_time(
    play: Understudy, number: int, step: Step[Any], walk: _Walk
) -> Iterator[Placement]:
    """Let the time of a step that has one be over wherever nobody is in a transaction."""
    if step.within is None:
        return
    for place, where in walk.places:
        if where != step.name or place not in ("intent.committed", "call.returned"):
            continue
        strike = partial(Placement, row=step.name, detail=place)
        # A worker that is not held up commits the step: nobody has looked at the clock.
        yield strike(column="slow", prepare=(at(place, where, on_stage.late),), expects=DONE)
        yield strike(
            column="slower",
            prepare=(at(place, where, on_stage.late, on_stage.freeze),),
            expects=DONE if number >= play.saga.first_retriable else BACK,
        )
    yield Placement(
        row=step.name,
        column="slow",
        detail="stuck",
        prepare=(
            stubborn(step.name, Direction.DO),
            at("fault.committed", step.name, on_stage.late),
        ),
        expects=DONE if number >= play.saga.first_retriable else BACK,
        stuck=number >= play.saga.first_retriable,
    )


def _is_past(play: Understudy, number: int, place: str) -> bool:
    """Return whether there is no way back at a place of a step."""
    saga = play.saga
    if number >= saga.first_retriable:
        return True
    if saga.steps[number].kind is Kind.PIVOT:
        return True
    return place == "step.committed" and number + 1 >= saga.first_retriable


def _messages(
    row: str,
    walk: _Walk,
    trigger: tuple[Callable[[Stage], None], ...],
    expects: frozenset[str],
) -> Iterator[Placement]:
    strike = partial(Placement, row=row, expects=expects)

    def twice(stage: Stage) -> None:
        stage.doubled = True

    yield strike(column="twice", detail="", prepare=(*trigger, twice))
    for number in range(1, walk.published + 1):
        yield strike(
            column="lost",
            detail=str(number),
            prepare=(*trigger, partial(_lose, number)),
        )
    for place, where in walk.places:
        if where == "":
            yield strike(
                column="killed",
                detail=place,
                prepare=(*trigger, at(place, "", on_stage.kill)),
            )


def _lose(number: int, stage: Stage) -> None:
    stage.lost.add(number)


def _unwanted(step: str, stage: Stage) -> None:
    stage.play.participants.unwanted.add(step)
