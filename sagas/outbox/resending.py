"""Publishing an event again for an operator who does not want to wait for the sweep."""

import logging
from uuid import UUID

from sagas.failpoints import failpoint
from sagas.models.operator_action import OperatorAction
from sagas.outbox.relay import deliver_later
from sagas.outbox.subscriptions import consumers_of
from sagas.reasons import refuse_untold
from sagas.transactions import after_commit, connection_of, table, transaction

log = logging.getLogger(__name__)


# Of two who press at once, the second finds that the event has been sent once more than it saw.
_COUNT = """
UPDATE {outbox} SET attempts = attempts + 1
WHERE id = %(id)s AND attempts = %(seen)s
RETURNING type
"""


def resend_event(producer: str, event_id: UUID, *, by: str, reason: str, seen: int) -> bool:
    """Publish an event again now, for everyone who listens to it.

    False when there is nothing to send: the row has been pruned, nobody listens, or somebody was
    faster. Safe for an event that was applied long ago: a consumer's position takes each event
    once.

    :param seen: how often it had been sent when the operator looked
    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if a text has a zero byte, or half of a surrogate pair
    """
    refuse_untold(by=by, reason=reason)
    with transaction(producer):
        consumers = consumers_of(_sent_again(producer, event_id, seen) or "")
        OperatorAction.objects.create(
            action="resend",
            target_type=f"{producer} event",
            target_id=str(event_id),
            by=by,
            reason=reason,
            outcome="done" if consumers else "refused",
        )
        if consumers:
            after_commit(lambda: _send(producer, consumers, event_id))
        failpoint("act.before_commit", "resend")
    log.info("operator_action", extra={"action": "resend", "event_id": str(event_id), "by": by})
    return bool(consumers)


def _sent_again(producer: str, event_id: UUID, seen: int) -> str | None:
    """Count that an event is sent once more, and return its type."""
    with connection_of(producer).cursor() as cursor:
        statement = _COUNT.replace("{outbox}", table(producer, "outbox"))
        cursor.execute(statement, {"id": event_id, "seen": seen})
        row = cursor.fetchone()
    return None if row is None else str(row[0])


def _send(producer: str, consumers: list[str], event_id: UUID) -> None:
    failpoint("act.committed", "resend")
    for consumer in consumers:
        deliver_later(producer, consumer, [str(event_id)])
