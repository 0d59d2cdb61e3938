"""The stream of a saga: its journal, one entry for each step and direction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sagas.core.keys import Direction
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import RunState, StepRun
from sagas.orchestration.status import NoSuchSaga

SAGA = "sagas.saga"


def saga_at(saga_id: UUID, instant: datetime | None = None) -> dict[str, Any] | None:
    """Return where a saga stood at an instant; None where it had not begun.

    A journal row has the time of its last commit. A step that was under way at the instant, and
    was done later, had not been done.

    :raises NoSuchSaga: if there never was one with this id
    """
    saga = SagaInstance.objects.filter(id=saga_id).first()
    if saga is None:
        raise NoSuchSaga
    if instant is not None and saga.started_at > instant:
        return None
    runs = StepRun.objects.filter(saga_id=saga_id, due_at=None).order_by("committed_at", "id")
    if instant is not None:
        runs = runs.filter(committed_at__lte=instant)
    steps = [
        {"step": run.name, "direction": run.direction, "state": run.state, "at": run.committed_at}
        for run in runs
    ]
    return {
        "name": saga.name,
        "key": saga.key,
        "status": _status(saga, steps, instant),
        "steps": steps,
    }


def _status(saga: SagaInstance, steps: list[dict[str, Any]], instant: datetime | None) -> str:
    if instant is None or (saga.finished_at is not None and saga.finished_at <= instant):
        return saga.status
    turned = any(
        step["direction"] == Direction.UNDO.value or step["state"] == RunState.REJECTED
        for step in steps
    )
    return (Status.COMPENSATING if turned else Status.RUNNING).value
