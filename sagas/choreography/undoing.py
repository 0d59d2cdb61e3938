"""Taking back what a flow that was given up has done, hop by hop, the last one first.

A hop that never ran is undone too: its undo leaves a mark at which a late handler turns away, as
a step's compensation does.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from sagas import error_texts
from sagas.choreography.moves import Overtaken, move
from sagas.choreography.told import ToldByNewer, first_payload
from sagas.conf import conf
from sagas.core import codec
from sagas.core.choreography import Choreography, Hop, payload_of
from sagas.core.retry import DEFAULT
from sagas.core.states import FlowState
from sagas.correlation import Correlation, correlated
from sagas.failpoints import failpoint
from sagas.models import WatchedFlow
from sagas.transactions import ENGINE, is_detached, transaction

log = logging.getLogger(__name__)


def take_back(flow: WatchedFlow, declared: Choreography) -> None:
    """Undo every hop that is not undone yet, one commit each.

    :raises Overtaken: if somebody else has the flow meanwhile
    """
    cause = Correlation(
        correlation_id=flow.correlation_id,
        causation_id=str(flow.id),
        traceparent=flow.traceparent,
    )
    with correlated(cause):
        for hop, undo in _left(flow, declared):
            if flow.attempts > int(conf.MAX_ATTEMPTS):
                _park_dead(flow, hop.context)
                return
            try:
                _undo(flow, hop, undo)
            except Overtaken:
                raise
            except ToldByNewer as newer:
                _leave(flow, newer)
                return
            except Exception as error:  # noqa: BLE001 - whatever an undo raises, it is tried again
                _note(flow, hop.context, error)
                return
    with transaction(ENGINE):
        move(flow, state=FlowState.COMPENSATED.value, finished_at=Now(), due_at=None)
        failpoint("watch.before_commit")
    failpoint("watch.committed")


def _left(flow: WatchedFlow, declared: Choreography) -> list[tuple[Hop, Callable[[Any], None]]]:
    """Return the hops that are still to be undone, the last one first.

    By the names of their undos: a release may have put a hop in front since others were undone.
    """
    # A release that wrote numbers had, as far as anybody knows, the hops of this one.
    left = [
        (hop, hop.undo)
        for number, hop in enumerate(declared.hops)
        if hop.undo is not None and not {hop.undo_name, number} & {*flow.undone}
    ]
    return left[::-1]


def _undo(flow: WatchedFlow, hop: Hop, undo: Callable[[Any], None]) -> None:
    context = hop.context
    payload: Any = codec.decode(payload_of(undo, flow.name), first_payload(flow), tolerant=True)
    apart = is_detached(context)
    if apart:
        with transaction(context):
            undo(payload)
            failpoint("effect.before_commit", context)
        failpoint("watch.undone", context)
    with transaction(ENGINE if apart else context):
        if not apart:
            undo(payload)
        undone = [*flow.undone, hop.undo_name]
        left = Now() + timedelta(seconds=conf.LEASE)
        # This claim goes on to the next undo, and is the first attempt at it.
        move(flow, undone=undone, attempts=1, due_at=left)
        failpoint("watch.before_commit")
    # Not before: a commit may fail, at a foreign key that is looked at in the end.
    flow.undone, flow.attempts = undone, 1
    failpoint("watch.committed")


def _leave(flow: WatchedFlow, newer: ToldByNewer) -> None:
    """Leave a flow to a release that can read it: without an attempt, due when the lease ends."""
    log.warning("flow_unread", extra={"key": flow.name, "error": str(newer)})
    with transaction(ENGINE):
        move(flow, missing=error_texts.text_of(newer), attempts=flow.attempts - 1)
        failpoint("watch.before_commit")
    failpoint("watch.committed")


def _note(flow: WatchedFlow, context: str, error: Exception) -> None:
    reason = f"{context} could not take its hop back, attempt {flow.attempts}: "
    reason += error_texts.text_of(error)
    log.warning("undo_fault", extra={"context": context, "key": flow.name, "error": reason})
    if flow.attempts >= int(conf.MAX_ATTEMPTS):
        park(flow, reason)
        return
    delay = DEFAULT.delay(flow.attempts, base=conf.DELAY_BASE, cap=conf.DELAY_CAP)
    with transaction(ENGINE):
        move(flow, missing=reason, due_at=Now() + timedelta(seconds=delay))
        failpoint("watch.before_commit")
    failpoint("watch.committed")


def _park_dead(flow: WatchedFlow, context: str) -> None:
    """Stop a flow of whose last attempt nothing was noted, else it would be parked with that."""
    reason = f"{context} could not take its hop back: its process ended, or froze, in attempt "
    reason += str(flow.attempts - 1)
    log.warning("undo_fault", extra={"context": context, "key": flow.name, "error": reason})
    park(flow, reason)


def park(flow: WatchedFlow, reason: str, **changes: Any) -> None:
    """Stop a flow until an operator has decided.

    :raises Overtaken: if somebody else has it meanwhile
    """
    with transaction(ENGINE):
        move(flow, parked_at=Now(), parked_reason=reason, due_at=None, **changes)
        failpoint("watch.before_commit")
    failpoint("watch.committed")
