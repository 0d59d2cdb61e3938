"""The picture of one saga: a lane for each step, what was done and undone, and when.

Only numbers and words are computed here; ``templates/admin/sagas/timeline.svg`` draws them with
presentation attributes and classes, which a strict content security policy allows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sagas.admin.display import SIGNS
from sagas.admin.scale import Break, Scale, Tick
from sagas.durations import duration
from sagas.models import OperatorAction, RunState, SagaInstance, Status, StepFault, StepRun
from sagas.standing import border_number, definition_of

WIDTH = 1080
LEFT = 245
RIGHT = 165
TOP = 40
BAR = 12
THINNEST = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One bar, gap or marker of a lane."""

    shape: str
    classes: str
    x: float
    y: float
    width: float
    text: str
    label: str = ""
    label_x: float = 0.0
    sign: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """One step of the definition."""

    number: int
    name: str
    context: str
    y: float
    height: float
    is_current: bool
    is_border: bool
    """The first step after which there is no way back."""
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """An operator's act, above the lanes."""

    x: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Everything that the template draws."""

    width: int
    height: float
    left: int
    top: int
    right: float
    bottom: float
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    breaks: tuple[tuple[float, str], ...]
    acts: tuple[Mark, ...]
    now_x: float | None
    return_y: float | None
    summary: str

    @property
    def lanes_height(self) -> float:
        """Return the height of all lanes."""
        return self.bottom - self.top


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Something that happened in one lane, in time."""

    kind: str
    step_no: int
    direction: str
    start: datetime
    end: datetime
    text: str


def draw(
    saga: SagaInstance,
    runs: Sequence[StepRun],
    faults: Sequence[StepFault],
    acts: Sequence[OperatorAction],
    now: datetime,
) -> Picture:
    """Lay out the picture of a saga from the rows of its journal."""
    resumed = [act.at for act in acts if (act.action, act.outcome) == ("resume", "done")]
    stretches = [*_runs(saga, runs, faults, resumed, now), *_attempts(saga, runs, faults, now)]
    steps = _steps(saga, runs, faults)
    returns = any(stretch.direction == "undo" for stretch in stretches)
    end = _end(saga, stretches, now)
    busy = [(s.start, s.end) for s in stretches if not s.kind.startswith("gap")]
    busy += [(act.at, act.at) for act in acts]
    scale = Scale(saga.started_at, end, busy, WIDTH - LEFT - RIGHT)
    height = 50.0 if returns else 32.0
    lanes = tuple(
        _lane(saga, number, step, height, stretches=stretches, scale=scale, runs=runs)
        for number, step in enumerate(steps)
    )
    bottom = TOP + len(lanes) * height
    return Picture(
        width=WIDTH,
        height=bottom + 12,
        left=LEFT,
        top=TOP,
        right=WIDTH - RIGHT,
        bottom=bottom,
        lanes=lanes,
        ticks=tuple(Tick(x=_r(LEFT + tick.x), text=tick.text) for tick in scale.ticks()),
        breaks=tuple(_break(cut) for cut in scale.breaks()),
        acts=tuple(_mark(act, scale) for act in acts if act.outcome == "done"),
        now_x=_r(LEFT + scale.x(now)) if saga.finished_at is None else None,
        return_y=next((lane.y for lane in lanes if lane.is_border), None),
        summary=f"{len(lanes)} steps of {saga}, {saga.status}, {duration(end - saga.started_at)}",
    )


def _steps(
    saga: SagaInstance, runs: Sequence[StepRun], faults: Sequence[StepFault]
) -> list[tuple[str, str]]:
    """Return name and context of each step, from the journal where the definition is not known."""
    definition = definition_of(saga)
    if definition is not None:
        names = [step.name for step in definition.steps]
        return list(zip(names, definition.contexts, strict=True))
    known = {fault.step_no: (fault.name, "") for fault in faults}
    known |= {run.step_no: (run.name, run.context) for run in runs}
    return [known.get(number, ("unknown here", "")) for number in range(saga.last_step + 1)]


def _runs(
    saga: SagaInstance,
    runs: Sequence[StepRun],
    faults: Sequence[StepFault],
    resumed: Sequence[datetime],
    now: datetime,
) -> Iterator[Stretch]:
    for run in runs:
        # The last attempt alone: the ones before it are drawn from their faults.
        retried = [
            fault.next_at
            for fault in faults
            if (fault.step_no, fault.direction) == (run.step_no, run.direction)
            and fault.next_at is not None
            and fault.next_at <= run.committed_at
        ]
        retried += [at for at in resumed if at <= run.committed_at]
        start = max([*retried, run.started_at or run.committed_at])
        kind, end = run.state, run.committed_at
        if run.state in {RunState.INTENDED, RunState.PENDING} and _is_worked_on(saga, run, now):
            kind, end = "working", now
        elif run.state == RunState.PENDING:
            # Its attempts and waits so far are drawn from its faults.
            start, end = (end if retried else run.committed_at), (end if retried else now)
        text = f"{run.name} {run.direction}: {kind}, {duration(end - start)}"
        yield Stretch(
            kind=kind,
            step_no=run.step_no,
            direction=run.direction,
            start=min(start, end),
            end=end,
            text=text,
        )


def _is_worked_on(saga: SagaInstance, run: StepRun, now: datetime) -> bool:
    if run.due_at is not None:  # an open branch
        return run.leased_until is not None and run.leased_until > now
    forward = saga.status == Status.RUNNING
    here = run.step_no == saga.cursor and run.direction == ("do" if forward else "undo")
    return here and saga.leased_until is not None and saga.leased_until > now


def _attempts(
    saga: SagaInstance, runs: Sequence[StepRun], faults: Sequence[StepFault], now: datetime
) -> Iterator[Stretch]:
    """Return for each fault the attempt that led to it, the fault and the wait after it."""
    commits = sorted(run.committed_at for run in runs if run.state != RunState.INTENDED)
    waited: dict[tuple[int, str], datetime] = {}
    for index, fault in enumerate(faults):
        lane = (fault.step_no, fault.direction)
        begun = fault.first_at or fault.at
        before = [saga.started_at, *(at for at in commits if at <= begun)]
        start = waited.get(lane, before[-1])
        error = f"{fault.kind}: {fault.error}"
        if fault.kind != "rejected":
            yield _stretch("attempt", fault, min(start, begun), begun, error)
        if fault.times > 1:
            yield _stretch("gap", fault, begun, fault.at, f"was put off {fault.times} times")
        yield _stretch(f"mark-{fault.kind}", fault, fault.at, fault.at, error)
        if fault.next_at is None:
            continue
        waited[lane] = fault.next_at
        later = [next_.at for next_ in faults[index + 1 :]] + [
            at for at in commits if at > fault.at
        ]
        until = min([fault.next_at, *later, saga.finished_at or fault.next_at])
        text = f"waits {duration(fault.next_at - fault.at)} for the next attempt"
        yield _stretch("gap", fault, fault.at, max(until, fault.at), text)


def _stretch(kind: str, fault: StepFault, start: datetime, end: datetime, text: str) -> Stretch:
    return Stretch(
        kind=kind,
        step_no=fault.step_no,
        direction=fault.direction,
        start=start,
        end=end,
        text=f"{fault.name} {fault.direction}: {text}",
    )


def _end(saga: SagaInstance, stretches: Sequence[Stretch], now: datetime) -> datetime:
    if saga.finished_at is not None:
        return saga.finished_at
    last = max([now, *(stretch.end for stretch in stretches)])
    # A little room right of the now-line, and not more of the future than of the past.
    past = max(now - saga.started_at, timedelta(milliseconds=10))
    return min(last, now + past) + past / 20


def _lane(
    saga: SagaInstance,
    number: int,
    step: tuple[str, str],
    height: float,
    *,
    stretches: Sequence[Stretch],
    scale: Scale,
    runs: Sequence[StepRun],
) -> Lane:
    current = {run.step_no for run in runs if run.due_at is not None} or {saga.cursor}
    y = TOP + number * height
    return Lane(
        number=number + 1,
        name=step[0],
        context=step[1],
        y=y,
        height=height,
        is_current=saga.finished_at is None and number in current,
        is_border=number == border_number(definition_of(saga)),
        shapes=tuple(
            _shape(stretch, y, scale) for stretch in stretches if stretch.step_no == number
        ),
    )


def _shape(stretch: Stretch, y: float, scale: Scale) -> Shape:
    forward = stretch.direction == "do"
    x = LEFT + scale.x(stretch.start)
    width = max(LEFT + scale.x(stretch.end) - x, THINNEST)
    mark = stretch.kind.startswith("mark-")
    bar = stretch.kind in {*RunState.values, "working"}
    return Shape(
        shape="mark" if mark else "bar",
        classes=f"tl-{stretch.kind} tl-{'forward' if forward else 'return'}",
        x=_r(x),
        y=_r(y + (9 if forward else 29)),
        width=_r(width),
        text=stretch.text,
        label=duration(stretch.end - stretch.start) if bar and stretch.end > stretch.start else "",
        label_x=_r(x + width + 4),
        sign=SIGNS[stretch.kind.removeprefix("mark-")] if mark else "",
    )


def _break(cut: Break) -> tuple[float, str]:
    return _r(LEFT + cut.x), duration(cut.length)


def _mark(act: OperatorAction, scale: Scale) -> Mark:
    return Mark(x=_r(LEFT + scale.x(act.at)), text=f"{act.action} by {act.by}: {act.reason}")


def _r(value: float) -> float:
    return round(value, 1)
