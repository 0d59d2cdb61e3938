"""How a saga stands, for pages and terminals."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sagas.core.errors import SagasError
from sagas.core.keys import Direction
from sagas.models.saga import SagaInstance, Status
from sagas.models.step_run import StepFault, StepRun
from sagas.orchestration import registry
from sagas.orchestration.asleep import Wait, wait_of


class NoSuchSaga(SagasError):
    """There is no saga with this id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SagaView:
    """What a page or a terminal shows of a saga."""

    id: UUID
    name: str
    status: str
    past_return: bool
    cursor: int
    step: str | None
    """The step under the cursor, of a group the one with the most attempts; None at the end."""
    branches: tuple[str, ...]
    """Of the group under the cursor, the branches that are left, in the order of the table."""
    attempts: int
    next_at: datetime | None
    """When the next attempt is due, while a delay runs."""
    waits: Wait | None
    """What it sleeps for, since when and until when; None while it does not."""
    last_fault_kind: str | None
    """``fault`` or ``unknown`` while the step under the cursor is being retried."""
    waiting_for: str | None
    """What it sleeps for, like ``lock:orders.order/<id>``; None while it does not."""
    parked_reason: str | None
    failure: str | None
    canceled_by: str | None
    started_at: datetime
    finished_at: datetime | None


def saga_status(saga_id: UUID) -> SagaView:
    """Return how a saga stands.

    :raises NoSuchSaga: if there is none with this id
    """
    row = SagaInstance.objects.filter(id=saga_id).first()
    if row is None:
        raise NoSuchSaga
    open_ = _open_branches(row)
    return SagaView(
        id=row.id,
        name=row.name,
        status=row.status,
        past_return=row.past_return,
        cursor=row.cursor,
        step=open_[0].name if open_ else step_under_cursor(row),
        branches=tuple(run.name for run in sorted(open_, key=lambda run: run.step_no)),
        attempts=open_[0].attempts if open_ else row.attempts,
        next_at=_next_at(row, open_),
        waits=wait_of(row),
        last_fault_kind=None if row.finished_at else _last_fault_kind(row, open_),
        waiting_for=row.waiting_for,
        parked_reason=row.parked_reason,
        failure=row.failure,
        canceled_by=row.canceled_by,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def step_under_cursor(row: SagaInstance) -> str | None:
    """Return the step that is to be run or undone next; None when the saga has ended."""
    definition = registry.SAGAS.get((row.name, row.def_version))
    if row.finished_at is not None or definition is None:
        return None
    return definition.steps[row.cursor].name if 0 <= row.cursor <= definition.last else None


def _open_branches(row: SagaInstance) -> list[StepRun]:
    """Return the branches that a saga in a group waits for, the most troublesome first."""
    if not row.pending:
        return []
    left = StepRun.objects.filter(saga_id=row.id, direction=Direction.DO, due_at__isnull=False)
    return list(left.order_by("-attempts", "step_no"))


def _next_at(row: SagaInstance, open_: list[StepRun]) -> datetime | None:
    if open_:
        return open_[0].not_before
    return row.not_before if row.waiting_for is None else None


def _last_fault_kind(row: SagaInstance, open_: list[StepRun]) -> str | None:
    direction = Direction.DO if row.status == Status.RUNNING else Direction.UNDO
    number = open_[0].step_no if open_ else row.cursor
    return (
        StepFault.objects.filter(saga_id=row.id, step_no=number, direction=direction)
        .order_by("-at")
        .values_list("kind", flat=True)
        .first()
    )
