"""What must be true at the end of a rehearsal, whatever has happened in it."""

from dataclasses import dataclass

from sagas.core.definition import Kind
from sagas.core.keys import Direction, effect_key
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import RunState, StepRun
from sagas.orchestration import orchestrator
from sagas.simulation.participants import effects
from sagas.simulation.placements import Placement
from sagas.simulation.stage import NoRest, Stage
from sagas.simulation.understudy import Understudy


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How one rehearsal ended."""

    placements: tuple[Placement, ...]
    end: str
    parked: bool
    """Whether it was parked on the way."""
    wrong: tuple[str, ...]


def rehearse(play: Understudy, *placed: Placement) -> Verdict:
    """Rehearse a saga with these faults, and judge the end."""
    stage = Stage(play)
    for placement in placed:
        for prepare in placement.prepare:
            prepare(stage)
    try:
        row = stage.perform()
        parked = row.parked_at is not None
        wrong = [] if row.parked_reason or not parked else ["parked without a reason"]
        if parked:
            row = _resumed(stage)
    except NoRest as restless:
        return Verdict(placements=placed, end="restless", parked=False, wrong=(str(restless),))
    wrong += _complaints(play, row)
    if len(placed) == 1:
        wrong += _unexpected(placed[0], row, parked=parked)
    return Verdict(placements=placed, end=row.status, parked=parked, wrong=tuple(wrong))


def _resumed(stage: Stage) -> SagaInstance:
    """Heal the participant and let an operator resume, as the parked saga's page proposes."""
    stage.play.participants.heal()
    orchestrator.resume(stage.saga_id, by="operator", reason="the participant works again")
    return stage.go_on()


def _unexpected(placement: Placement, row: SagaInstance, *, parked: bool) -> list[str]:
    wrong = []
    if row.status not in placement.expects:
        wrong.append(f"ended {row.status}, not {' or '.join(sorted(placement.expects))}")
    if placement.stuck != parked:
        wrong.append("was parked" if parked else "was not parked")
    return wrong


def _complaints(play: Understudy, row: SagaInstance) -> list[str]:
    if row.status not in {Status.COMPLETED, Status.COMPENSATED}:
        return [f"is {row.status}" + (f", parked: {row.parked_reason}" if row.parked_at else "")]
    seen = effects(row.id)
    skipped = set(
        StepRun.objects.filter(saga_id=row.id, state=RunState.SKIPPED).values_list(
            "name", flat=True
        )
    )
    wrong = []
    for step in play.saga.steps:
        if step.do is None and step.kind is not Kind.BEGUN:
            continue
        done, undone = seen[step.name, "do"], seen[step.name, "undo"]
        held = effect_key(row.id, step.name, Direction.DO) in play.participants.other_side.held
        if row.status == Status.COMPLETED:
            expected = (0 if step.name in skipped else 1, 0)
            right = (done, undone) == expected and (
                step.name not in play.remote or held == bool(expected[0])
            )
        elif step.name in play.remote:
            right = done <= 1 and done <= undone <= 1 and not held
        else:
            right = done <= 1 and done == undone
        if not right:
            wrong.append(
                f"{step.name} was done {done} times and undone {undone} times"
                + (", and is held at the other side" if held else "")
            )
    wrong += [
        f"{key} was carried out {times} times"
        for key, times in play.participants.other_side.carried_out.items()
        if times > 1
    ]
    return wrong
