"""``manage.py sagas show``: why a saga stands there, what comes next, what can be done."""

from typing import Any

from sagas import clock, standing
from sagas.models import SagaInstance, StepFault, StepRun
from sagas.orchestration import pressable, seen
from sagas.orchestration.asleep import wait_of


def document(saga: SagaInstance) -> dict[str, Any]:
    """Return it as JSON has it: a sentence, and every act with why it is refused or null."""
    refusals = pressable.refusals(saga)
    return {"sentence": sentence(saga), "acts": refusals, "seen": str(seen.look(saga))}


def sentence(saga: SagaInstance) -> str:
    """Return the sentence that the admin shows."""
    faults = list(StepFault.objects.filter(saga_id=saga.id).order_by("at", "id"))
    runs = list(StepRun.objects.filter(saga_id=saga.id).order_by("committed_at", "id"))
    return standing.sentence(saga, faults, clock.real(), runs, wait_of(saga))


def lines(saga: SagaInstance) -> list[str]:
    """Return the same for a terminal."""
    refusals = pressable.refusals(saga)
    possible = ", ".join(act for act, refusal in refusals.items() if refusal is None)
    refused = "; ".join(f"{act}: {refusal}" for act, refusal in refusals.items() if refusal)
    return [
        sentence(saga),
        f"possible: {possible or 'nothing'}" + (f" (not {refused})" if refused else ""),
        *([f"to skip:  --seen {seen.look(saga)}"] if saga.parked_at is not None else []),
        "",
    ]
