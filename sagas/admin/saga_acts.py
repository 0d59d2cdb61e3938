"""What operators may do to a saga: resume, compensate, skip a step, park."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from sagas.admin.acts import Act, Target
from sagas.core.definition import Kind, Saga
from sagas.core.keys import Direction
from sagas.models import SagaInstance, Status, StepRun
from sagas.models.step_run import RunState
from sagas.orchestration import orchestrator, pressable
from sagas.orchestration import seen as seen_of_saga
from sagas.orchestration.handlers import calls_out
from sagas.standing import definition_of, step_text

Runs = dict[int, str]
"""Of the steps of one saga that have run forward: number and state."""


class SagaAct(Act):
    """An act on sagas; which one is said by the subclasses."""

    target_type = "saga"
    service: ClassVar[Callable[..., bool]]

    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the sagas as they stand now, the oldest first."""
        sagas = list(SagaInstance.objects.filter(id__in=_uuids(keys)).order_by("id"))
        runs = _forward_runs(sagas)
        return [
            Target(
                key=str(saga.id),
                mark=self.mark(saga),
                title=str(saga),
                url=reverse("admin:sagas_sagainstance_change", args=[saga.id]),
                preview=self.preview(saga, runs.get(saga.id, {})),
                refusal=self.refusal(saga),
            )
            for saga in sagas
        ]

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service; it guards, changes and audits in one transaction."""
        return type(self).service(UUID(key), by=by, reason=reason)

    def mark(self, saga: SagaInstance) -> str:
        """Return what changes when the saga moves on."""
        return f"{saga.status}:{saga.cursor}:{saga.fencing_token}"

    @abstractmethod
    def preview(self, saga: SagaInstance, runs: Runs) -> tuple[str, ...]:
        """Return what will happen, a sentence each."""

    @abstractmethod
    def refusal(self, row: SagaInstance) -> str | None:
        """Return why the act is not possible now."""


class Resume(SagaAct):
    """Lets a parked saga go on."""

    name = "resume"
    label = "Resume"
    permission = "sagas.resume_saga"
    promise = (
        "A resumed saga goes on where it stopped: steps that are done are not repeated, and what"
        " is tried again is sent under the same idempotency key."
    )
    service = staticmethod(orchestrator.resume)

    def refusal(self, row: SagaInstance) -> str | None:
        """Return why the saga cannot be resumed."""
        return pressable.resume(row)

    def preview(self, saga: SagaInstance, runs: Runs) -> tuple[str, ...]:
        """Return at which step it goes on, and which way."""
        way = "goes on forward with" if saga.status == Status.RUNNING else "goes on undoing"
        after = "only forward: it is past the point of no return"
        return (
            f"It {way} step {step_text(saga)}; the attempts are counted from 1 again.",
            f"It was parked because: {saga.parked_reason}.",
            *([f"From there {after}."] if saga.past_return else []),
        )


class Compensate(SagaAct):
    """Turns a running saga round."""

    name = "compensate"
    label = "Compensate"
    permission = "sagas.compensate_saga"
    promise = (
        "Compensation undoes every step in reverse order and is never given up. It cannot be"
        " taken back, and it is refused past the point of no return."
    )
    service = staticmethod(orchestrator.compensate)

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service, which leaves alone what somebody has resumed since it was seen."""
        saw = seen_of_saga.read(seen)
        return orchestrator.compensate(UUID(key), by=by, reason=reason, seen=saw)

    def mark(self, saga: SagaInstance) -> str:
        """Return where it stands, and of a parked one under which token.

        A worker's claim changes the token too, but not what there is to undo.
        """
        seen = seen_of_saga.look(saga)
        return str(seen if saga.parked_at is not None else replace(seen, token=None))

    def refusal(self, row: SagaInstance) -> str | None:
        """Return why the saga cannot be turned round."""
        return pressable.compensate(row)

    def preview(self, saga: SagaInstance, runs: Runs) -> tuple[str, ...]:
        """Return what will be undone, in that order."""
        definition = definition_of(saga)
        if definition is None:
            return ("Each step is undone by a worker that knows the definition.",)
        undone = []
        furthest = [min(saga.cursor, definition.last), *definition.branches(saga.cursor)]
        for number in range(max(furthest), -1, -1):
            step = definition.steps[number]
            if step.undo is None or step.kind is Kind.RETRIABLE:
                continue
            if runs.get(number) == "done":
                undone.append(f"{step.name} is undone.")
            elif number >= saga.cursor or _may_have_called(definition, number, runs.get(number)):
                undone.append(f"{step.name} is closed for good, and undone if it took effect.")
        return tuple(undone)


class Skip(SagaAct):
    """Settles the step that a parked saga stands at, and lets the saga go on."""

    name = "skip"
    label = "Skip step"
    permission = "sagas.skip_saga"
    promise = (
        "The step is written down as settled by you, with your reason, and is not tried again; the"
        " saga goes on at once. If its call was made after all, a compensation still undoes it."
    )
    service = staticmethod(orchestrator.skip)

    def parts(self, row: SagaInstance) -> tuple[str, ...]:
        """Return the branches that may be skipped, where more than one is left."""
        return pressable.branches(row)

    def audited(self, key: str) -> str:
        """Return the saga's id, without the branch."""
        return key.partition(":")[0]

    def targets(self, keys: Sequence[str]) -> list[Target]:
        """Return the sagas as they stand now, or a branch of one."""
        found = super().targets([key for key in keys if ":" not in key])
        for saga_id, _, branch in (key.partition(":") for key in keys if ":" in key):
            saga = SagaInstance.objects.filter(id__in=_uuids([saga_id])).first()
            if saga is not None:
                found.append(self._branch(saga, branch))
        return found

    def _branch(self, saga: SagaInstance, branch: str) -> Target:
        left = ", ".join(name for name in pressable.left(saga) if name != branch)
        return Target(
            key=f"{saga.id}:{branch}",
            mark=self.mark(saga),
            title=f"{saga}, step {branch}",
            url=reverse("admin:sagas_sagainstance_change", args=[saga.id]),
            preview=(
                f"Step {branch}: the saga goes on without it.",
                f"The steps beside it are tried again: {left}.",
                f"It was parked because: {saga.parked_reason}.",
            ),
            refusal=pressable.skip(saga, branch),
        )

    def carry_out(self, key: str, seen: str, *, by: str, reason: str) -> bool:
        """Call the service, which is told the branch where there is one, and what was seen."""
        saga_id, _, branch = key.partition(":")
        return orchestrator.skip(
            UUID(saga_id), by=by, reason=reason, step=branch or None, seen=seen_of_saga.read(seen)
        )

    def mark(self, saga: SagaInstance) -> str:
        """Return which way it goes, at which step, and under which token."""
        return str(seen_of_saga.look(saga))

    def moved_on(self, key: str, seen: str) -> str:
        """Return what has changed."""
        saga = SagaInstance.objects.filter(id__in=_uuids([key.partition(":")[0]])).first()
        try:
            told = saga and seen_of_saga.changed(seen_of_saga.read(seen), saga)
        except seen_of_saga.UnreadableMark as wrong:
            return str(wrong)
        return told or super().moved_on(key, seen)

    def refusal(self, row: SagaInstance) -> str | None:
        """Return why the step cannot be skipped."""
        return pressable.skip(row)

    def preview(self, saga: SagaInstance, runs: Runs) -> tuple[str, ...]:
        """Return which step is settled, and what that says."""
        forward = saga.status == Status.RUNNING
        means = "goes on without it" if forward else "takes it as undone by hand"
        return (
            f"Step {step_text(saga)}: the saga {means}.",
            f"It was parked because: {saga.parked_reason}.",
        )


class Park(SagaAct):
    """Stops a saga until somebody resumes it."""

    name = "park"
    label = "Park"
    permission = "sagas.compensate_saga"
    promise = (
        "A parked saga takes no further step until it is resumed. Before the point of no return"
        " its deadline still compensates it."
    )
    service = staticmethod(orchestrator.park)

    def mark(self, saga: SagaInstance) -> str:
        """Return nothing: stopping is right wherever the saga has come to meanwhile."""
        return ""

    def refusal(self, row: SagaInstance) -> str | None:
        """Return why the saga cannot be parked."""
        return pressable.park(row)

    def preview(self, saga: SagaInstance, runs: Runs) -> tuple[str, ...]:
        """Return where it stops."""
        return (
            f"It stops at step {step_text(saga)}.",
            "A call under way may still take effect; its answer is recorded after a resume.",
        )


def _may_have_called(definition: Saga[Any], number: int, state: str | None) -> bool:
    """Return whether a person has settled a step whose call may have been made before."""
    return state == RunState.SKIPPED and calls_out(definition, number, Direction.DO)


def _forward_runs(sagas: Sequence[SagaInstance]) -> dict[UUID, Runs]:
    found: dict[UUID, Runs] = {}
    rows = StepRun.objects.filter(saga_id__in=[saga.id for saga in sagas], direction="do")
    # One that was skipped since its condition was false was never begun.
    rows = rows.filter(~Q(state=RunState.SKIPPED) | Q(reply__has_key="skipped_by"))
    for saga_id, number, state in rows.values_list("saga_id", "step_no", "state"):
        found.setdefault(saga_id, {})[number] = state
    return found


def _uuids(keys: Sequence[str]) -> list[UUID]:
    found = []
    for key in keys:
        try:
            found.append(UUID(key))
        except ValueError:
            continue
    return found
