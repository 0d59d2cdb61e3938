"""An operator's discard: a context goes past an event that it will never be able to handle.

And of a message that no worker could read: it is out of the way.
"""

import logging
from typing import Final
from uuid import UUID

from django.db.models.functions import Now

from sagas.failpoints import failpoint
from sagas.models.dead_letter import DeadLetter
from sagas.models.operator_action import OperatorAction
from sagas.models.unreadable import UnreadableMessage
from sagas.outbox import dead_letters, positions, refused
from sagas.outbox.delivery import pass_over
from sagas.outbox.exchange import OUTSIDE
from sagas.outbox.letter_marks import Seen
from sagas.reasons import refuse_untold
from sagas.transactions import (
    ENGINE,
    after_commit,
    connection_of,
    is_detached,
    table,
    transaction,
)

log = logging.getLogger(__name__)


def discard(letter_id: UUID, *, by: str, reason: str, seen: Seen | None = None) -> bool:
    """Let a context go on without an event; the later events of its aggregate follow at once.

    False when it is resolved already, or was applied in the meantime. Safe when two press at
    once: the second finds it resolved. False also where an event before it is not applied or
    missing: that one comes first, and the letter stays.

    :param seen: how it stood when the operator looked; False where it stands otherwise
    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if a text has a zero byte, or half of a surrogate pair
    """
    refuse_untold(by=by, reason=reason)
    waiting = DeadLetter.objects.filter(id=letter_id, resolved_at=None)
    letter = (waiting if seen is None else seen.still(waiting)).first()
    apart = letter is not None and is_detached(_home(letter))
    passed = None
    if letter is not None and apart:
        # First: should the rest not follow, the letter still waits and can be discarded again.
        with transaction(_home(letter)):
            passed = _pass_over_once(letter)
            failpoint("act.before_commit", "discard")
    with transaction(ENGINE if letter is None or apart else _home(letter)):
        done = letter is not None and _close(letter, passed=passed)
        OperatorAction.objects.create(
            action="discard",
            target_type="dead letter",
            target_id=str(letter_id),
            by=by,
            reason=reason,
            outcome="done" if done else "refused",
        )
        if letter is not None and done:
            _go_on_after(letter)
        failpoint("act.before_commit", "discard")
    log.info("operator_action", extra={"action": "discard", "by": by})
    return done


_MARK = """
INSERT INTO {idempotency} (scope, key, fingerprint, status, headers, body)
VALUES ('sagas.discard', %s, '', 200, '{{}}', '')
"""
_MARKED = "SELECT 1 FROM {idempotency} WHERE scope = 'sagas.discard' AND key = %s"
_ALL_MARKED = "SELECT key FROM {idempotency} WHERE scope = 'sagas.discard'"


def _home(letter: DeadLetter) -> str:
    """Return the context in whose tables it is written that an event is gone past."""
    return letter.producer if letter.context == OUTSIDE else letter.context


def _go_past(letter: DeadLetter) -> bool:
    return refused.pass_by(letter) if letter.context == OUTSIDE else pass_over(letter)


def _pass_over_once(letter: DeadLetter) -> bool:
    """Go past an event; also True where an earlier discard did, which died before its end."""
    mark = table(_home(letter), "idempotency")
    passed = _go_past(letter)
    with connection_of(_home(letter)).cursor() as cursor:
        cursor.execute((_MARK if passed else _MARKED).format(idempotency=mark), [str(letter.id)])
        return passed or cursor.fetchone() is not None


def half_discarded(context: str) -> frozenset[str]:
    """Return the ids of the dead letters that a detached context has gone past at a discard.

    Also of those whose discard died before the letter was closed. A context without a database of
    its own does both in one commit.
    """
    if not is_detached(context):
        return frozenset()
    with connection_of(context).cursor() as cursor:
        cursor.execute(_ALL_MARKED.format(idempotency=table(context, "idempotency")))
        return frozenset(key for (key,) in cursor.fetchall())


def _close(letter: DeadLetter, *, passed: bool | None) -> bool:
    one = DeadLetter.objects.filter(id=letter.id)
    if one.select_for_update().first() is None:
        return False  # of an attempt that has gone well in this moment
    still_open = one.filter(resolved_at=None)
    if passed is None:
        passed = still_open.exists() and _go_past(letter)
    if not passed and is_behind_a_hole(letter):
        return False  # the letter alone says that one is missing
    closed = bool(still_open.update(resolved_at=Now(), next_at=None))
    # A delivery may have closed it since: it found that the context has gone past the event.
    return passed and (closed or not _is_discarded(letter))


BEHIND_A_HOLE: Final = "an event before it is not applied, or missing: that one comes first"


def is_behind_a_hole(letter: DeadLetter) -> bool:
    """Return whether an event of its aggregate that comes before it is not applied."""
    if letter.context == OUTSIDE:
        return False
    aggregate = (letter.aggregate_type, letter.aggregate_id)
    missing = positions.missing_before(letter.context, *aggregate, letter.sequence)
    return missing is not None


def _is_discarded(letter: DeadLetter) -> bool:
    return OperatorAction.objects.filter(
        action="discard", target_id=str(letter.id), outcome="done"
    ).exists()


def _go_on_after(letter: DeadLetter) -> None:
    def ring() -> None:
        failpoint("act.committed", "discard")
        dead_letters.deliver_again(letter)

    after_commit(ring)


def discard_unreadable(message_id: UUID, *, by: str, reason: str) -> bool:
    """Put a message that no worker could read out of the way, for somebody who has looked at it.

    False when it is discarded already. Safe when two press at once: the second finds it so.

    :raises ReasonMissing: if the reason is empty
    :raises UnfitText: if a text has a zero byte, or half of a surrogate pair
    """
    refuse_untold(by=by, reason=reason)
    with transaction(ENGINE):
        waiting = UnreadableMessage.objects.filter(id=message_id, discarded_at=None)
        done = bool(waiting.update(discarded_at=Now()))
        OperatorAction.objects.create(
            action="discard",
            target_type="unreadable message",
            target_id=str(message_id),
            by=by,
            reason=reason,
            outcome="done" if done else "refused",
        )
        failpoint("act.before_commit", "discard")
    failpoint("act.committed", "discard")
    log.info("operator_action", extra={"action": "discard", "by": by})
    return done
