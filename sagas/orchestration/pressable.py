"""What an operator may do to a saga as it stands, and why not; for every screen and terminal.

Only the act itself knows for sure, since somebody may be faster; this is what is shown before.
"""

from sagas.core.definition import Kind
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import StepRun
from sagas.orchestration import group, skipping, versions
from sagas.orchestration.handover import is_lock


def refusals(saga: SagaInstance) -> dict[str, str | None]:
    """Return every act with why it is not possible now; None where it is."""
    return {
        "resume": resume(saga),
        "compensate": compensate(saga),
        "skip": skip(saga),
        "park": park(saga),
    }


def resume(saga: SagaInstance) -> str | None:
    """Return why a saga cannot be resumed."""
    return _ended(saga) or (None if saga.parked_at is not None else "it is not parked")


def park(saga: SagaInstance) -> str | None:
    """Return why a saga cannot be parked."""
    return _ended(saga) or ("it is parked already" if saga.parked_at is not None else None)


def compensate(saga: SagaInstance) -> str | None:
    """Return why a saga cannot be turned round."""
    if (ended := _ended(saga)) is not None:
        return ended
    if saga.status != Status.RUNNING:
        return "it is compensating already"
    return "it is past the point of no return" if not saga.may_turn else None


def skip(saga: SagaInstance, branch: str = "") -> str | None:
    """Return why the step that a saga stands at, or a branch of it, cannot be settled by hand."""
    if (stopped := resume(saga)) is not None:
        return stopped
    if versions.found(saga) is None:
        return "no release that runs here knows its definition"
    if is_lock(saga.waiting_for):
        return "it waits for its turn, which cannot be skipped"
    if saga.status == Status.COMPENSATING:
        return _of_child(saga)
    return _of_group(saga, branch) if saga.pending or branch else _needed(saga)


def _of_child(saga: SagaInstance) -> str | None:
    lives = skipping.has_living_child(saga)
    return "its child still runs: resume it, which calls the child back" if lives else None


def _of_group(saga: SagaInstance, branch: str) -> str | None:
    if saga.pending > 1 and not branch:
        return "several steps side by side are left: choose one (a terminal takes --step)"
    named = branch or ", ".join(left(saga))
    if named in _missed(saga):
        wrong = group.unkept(versions.fitting(saga), saga) if saga.pending == 1 else None
        return f"{wrong}: {_instead(saga)}" if wrong else None
    return f"{named} is done or cannot be missed: {_instead(saga)}"


def branches(saga: SagaInstance) -> tuple[str, ...]:
    """Return the branches of a group that can be settled by hand, where more than one is left."""
    if saga.pending < 2 or saga.parked_at is None:
        return ()
    return _missed(saga) if versions.found(saga) is not None else ()


def _missed(saga: SagaInstance) -> tuple[str, ...]:
    """Return the branches that are left and whose definition says that they may be missed."""
    steps = versions.fitting(saga).steps
    names = {step.name for step in steps if step.skippable}
    return tuple(name for name in left(saga) if name in names)


def left(saga: SagaInstance) -> tuple[str, ...]:
    """Return the branches of a group that are not done."""
    runs = StepRun.objects.filter(saga_id=saga.id, direction="do", due_at__isnull=False)
    return tuple(runs.order_by("step_no").values_list("name", flat=True))


def _needed(saga: SagaInstance) -> str | None:
    step = versions.fitting(saga).steps[saga.cursor]
    if step.skippable:
        return None
    if step.do is None:
        what = "it stands at a wait"
    elif step.kind is Kind.PIVOT:
        what = "it stands at its pivot, which decides everything"
    else:
        what = f"its definition does not let {step.name} be missed"
    return f"{what}: {_instead(saga)}"


def _instead(saga: SagaInstance) -> str:
    """Return what an operator can do where nothing may be skipped."""
    mended = "mend the cause and resume it"
    return mended if compensate(saga) is not None else f"{mended}, or compensate it"


def _ended(saga: SagaInstance) -> str | None:
    return f"it has ended ({saga.status})" if saga.finished_at is not None else None
