"""What operators do to a flow: resume it, give it up, or close it as seen to by hand."""

import logging
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.db.models.functions import Now

from sagas.choreography.flows import FLOWS
from sagas.choreography.seen import Seen, as_seen
from sagas.core.states import FlowState
from sagas.failpoints import failpoint
from sagas.models import OperatorAction, WatchedFlow
from sagas.reasons import refuse_untold
from sagas.transactions import ENGINE, transaction

log = logging.getLogger(__name__)

_PARKED = Q(finished_at=None, parked_at__isnull=False)
_FREE: dict[str, Any] = {"parked_at": None, "parked_reason": "", "attempts": 0}


def resume(flow_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """Let a parked flow go on, its re-drives counted anew; False when it is not parked.

    :param seen: what a person saw who decided; a flow that stands otherwise by now is left alone
    :raises ReasonMissing: if the reason is empty
    """
    where = _PARKED & as_seen(seen)
    return _act("resume", flow_id, where, by, reason, **_FREE, redrives=0, due_at=Now())


def compensate(flow_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """Give a running flow up and take back what was done; False when it does not run.

    :param seen: what a person saw who decided; a flow that stands otherwise by now is left alone
    :raises ReasonMissing: if the reason is empty
    """
    undone = [name for name, flow in FLOWS.items() if flow.can_be_undone]
    runs = Q(finished_at=None, state=FlowState.RUNNING.value, name__in=undone)
    compensating = FlowState.COMPENSATING.value
    where = runs & as_seen(seen)
    return _act("compensate", flow_id, where, by, reason, **_FREE, state=compensating, due_at=Now())


def close(flow_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """End a parked flow that was seen to by hand; False when it is not parked.

    :param seen: what a person saw who decided; a flow that stands otherwise by now is left alone
    :raises ReasonMissing: if the reason is empty
    """
    closed = FlowState.CLOSED.value
    where = _PARKED & as_seen(seen)
    return _act("close", flow_id, where, by, reason, state=closed, finished_at=Now())


def _act(action: str, flow_id: UUID, where: Q, by: str, reason: str, **changes: Any) -> bool:
    refuse_untold(by=by, reason=reason)
    with transaction(ENGINE):
        # The token too: a look that is under way must not undo what was decided here.
        chosen = WatchedFlow.objects.filter(where, id=flow_id)
        changed = chosen.update(token=F("token") + 1, **changes)
        OperatorAction.objects.create(
            action=action,
            target_type="watched flow",
            target_id=str(flow_id),
            by=by,
            reason=reason,
            outcome="done" if changed else "refused",
        )
        failpoint("act.before_commit", action)
    failpoint("act.committed", action)
    log.info("operator_action", extra={"action": action, "by": by})
    return bool(changed)
