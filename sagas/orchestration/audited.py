"""An operator's act on a saga: the change and its row in the audit are one commit."""

import logging
from typing import Any
from uuid import UUID

from sagas.failpoints import failpoint
from sagas.models.operator_action import OperatorAction
from sagas.reasons import refuse_untold
from sagas.transactions import ENGINE, after_commit, transaction

log = logging.getLogger(__name__)


def act(
    action: str, saga_id: UUID, *, by: str, reason: str, done: Any, context: str = "sagas"
) -> bool:
    """Do it, say so in the audit and ring for the saga; False where ``done`` has refused.

    Rings also then: a ring for nothing is harmless.

    :raises ReasonMissing: if the reason is empty
    """
    refuse_untold(by=by, reason=reason)
    with transaction(context):
        accepted = bool(done())
        OperatorAction.objects.create(
            action=action,
            target_type="saga",
            target_id=str(saga_id),
            by=by,
            reason=reason,
            outcome="done" if accepted else "refused",
        )
        # Refused it may have held the row all the same, and a message have passed it by.
        after_commit(lambda: _ring_current(action, saga_id))
        failpoint("act.before_commit", action)
    log.info("operator_action", extra={"action": action, "saga_id": str(saga_id), "by": by})
    return accepted


def note_refusal(action: str, target_type: str, target_id: str, *, by: str, reason: str) -> None:
    """Say in the audit that an act was not done whose own transaction could not say so."""
    with transaction(ENGINE):
        OperatorAction.objects.create(
            action=action,
            target_type=target_type,
            target_id=target_id,
            by=by,
            reason=reason,
            outcome="refused",
        )
        failpoint("act.before_commit", action)


def _ring_current(action: str, saga_id: UUID) -> None:
    from sagas.orchestration.sweep import continue_saga

    failpoint("act.committed", action)
    continue_saga(saga_id)
