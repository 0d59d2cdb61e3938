"""``manage.py sagas show``: what a saga has in hand, and what it waits for."""

from typing import Any

from sagas.models import SagaInstance
from sagas.orchestration import handover, locks


def document(saga: SagaInstance) -> dict[str, Any]:
    """Return the locks of a saga, as JSON has them."""
    return {
        "holds": [
            {"type": held.target_type, "id": held.target_id, "waiting": held.waiting}
            for held in locks.held_by(saga.id)
        ],
        "waits_for": _awaited(saga),
    }


def _awaited(saga: SagaInstance) -> dict[str, Any] | None:
    if not handover.is_lock(saga.waiting_for):
        return None
    kind, target_id = handover.target_of(str(saga.waiting_for))
    holder = locks.holder_of(kind, target_id)
    return {"type": kind, "id": target_id, "holder": holder.saga_id if holder else None}


def lines(saga: SagaInstance) -> list[str]:
    """Return the same for a terminal; nothing for a saga that has to do with no lock."""
    said = [
        f"{'holds':<16} {held.target_type} {held.target_id}, {held.waiting} waits for it"
        for held in locks.held_by(saga.id)
    ]
    if handover.is_lock(saga.waiting_for):
        said.append(f"{'waits for':<16} {locks.words_for(str(saga.waiting_for))}")
    return said
