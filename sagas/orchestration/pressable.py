"""What an operator may do to a saga as it stands, and why not; for every screen and terminal.

Only the act itself knows for sure, since somebody may be faster; this is what is shown before.
"""

from sagas.core.definition import Kind
from sagas.models.saga import SagaInstance, Status
from sagas.orchestration import registry
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
    return "it is past the point of no return" if saga.past_return else None


def skip(saga: SagaInstance) -> str | None:
    """Return why the step that a saga stands at cannot be settled by hand."""
    if (stopped := resume(saga)) is not None:
        return stopped
    if (saga.name, saga.def_version) not in registry.SAGAS:
        return "no release that runs here knows its definition"
    if is_lock(saga.waiting_for):
        return "it waits for its turn, which cannot be skipped"
    if saga.status == Status.COMPENSATING:
        return None
    if saga.pending > 1:
        return "several steps side by side are left: name one, with `manage.py sagas skip --step`"
    return None if saga.pending else _needed(saga)


def _needed(saga: SagaInstance) -> str | None:
    step = registry.get(saga.name, saga.def_version).steps[saga.cursor]
    if step.do is None:
        return "it stands at a wait"
    if step.kind is Kind.PIVOT:
        return "it stands at its pivot, which decides everything"
    return "later steps build on what this one answers" if step.keep is not None else None


def _ended(saga: SagaInstance) -> str | None:
    return f"it has ended ({saga.status})" if saga.finished_at is not None else None
