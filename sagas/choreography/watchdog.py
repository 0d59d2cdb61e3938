"""Looks at flows that are due: ticks off what is through, names what is missing, sees to it.

What is missing after the deadline is delivered again, so often as the choreography says. Then the
flow is given up: what was done is taken back, or an operator is asked. A watchdog that dies
anywhere leaves a row that is due again after a lease; nothing it does is wrong when done twice.
"""

import logging
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db.models.functions import Now

from sagas import clock
from sagas.choreography import undoing
from sagas.choreography.flows import FLOWS
from sagas.choreography.looking import Look, look, missing
from sagas.choreography.moves import Overtaken, claim, move
from sagas.choreography.words import gap_words
from sagas.conf import conf
from sagas.core.choreography import Choreography
from sagas.core.states import FlowState
from sagas.failpoints import failpoint
from sagas.models import WatchedFlow
from sagas.outbox.apart import Apart
from sagas.outbox.relay import deliver_later
from sagas.transactions import ENGINE, transaction

log = logging.getLogger(__name__)


def watch() -> int:
    """Look at every flow that is due; return how many.

    One after the other is claimed: an error costs the others nothing but this tick, and a database
    that is away nothing but time.

    :raises django.db.Error: if a database is away, after the others have been looked at
    """
    looked_at, end = 0, monotonic() + float(conf.WATCH_INTERVAL)
    with Apart() as apart:
        # One that is away may take seconds to say so, and the next tick comes anyway.
        while looked_at < int(conf.SWEEP_BATCH) and not (apart.trouble and monotonic() > end):
            flow = claim()
            failpoint("watch.claimed")
            if flow is None:
                break
            looked_at += 1
            with apart.each():
                _look_after_alone(flow)
    return looked_at


def _look_after_alone(flow: WatchedFlow) -> None:
    try:
        look_after(flow)
    except Overtaken as faster:
        log.info("flow_overtaken", extra={"error": str(faster)})


def look_after(flow: WatchedFlow) -> None:
    """Do the next thing for a flow that was claimed.

    :raises Overtaken: if somebody else has it meanwhile
    """
    declared = FLOWS[flow.name]
    if flow.state == FlowState.COMPENSATING:
        undoing.take_back(flow, declared)
        return
    looks = look(flow, declared)
    gap = missing(looks)
    if gap is None:
        _commit(flow, seen=_seen(looks), missing="", **_ended(FlowState.COMPLETED))
        return
    if clock.now(flow.ahead) < flow.deadline_at:
        _commit(flow, seen=_seen(looks), due_at=Now() + _until_next(flow))
        return
    flow.missing = gap_words(declared, gap)
    log.warning("hop_missing", extra={"key": flow.name, "reason": flow.missing})
    if gap.can_be_redriven and flow.redrives < declared.redrives:
        _redrive(flow, declared, looks, gap)
    elif declared.can_be_undone:
        _commit(
            flow,
            seen=_seen(looks),
            missing=flow.missing,
            state=FlowState.COMPENSATING.value,
            due_at=Now(),
        )
    else:
        undoing.park(flow, flow.missing, seen=_seen(looks), missing=flow.missing)


def _until_next(flow: WatchedFlow) -> timedelta:
    """Return a wait as long as the flow has lasted, but not past its deadline."""
    lasted = (clock.real() - flow.ahead - flow.opened_at).total_seconds()
    left = clock.seconds_until(flow.deadline_at, flow.ahead)
    return timedelta(seconds=min(max(float(conf.WATCH_INTERVAL), lasted), left))


def _redrive(flow: WatchedFlow, declared: Choreography, looks: list[Look], gap: Look) -> None:
    _commit(
        flow,
        seen=_seen(looks),
        missing=flow.missing,
        redrives=flow.redrives + 1,
        due_at=Now() + declared.patience,
    )
    deliver_later(gap.producer, gap.hop.context, [str(gap.event_id)])


def _commit(flow: WatchedFlow, **changes: Any) -> None:
    with transaction(ENGINE):
        move(flow, **changes)
        failpoint("watch.before_commit")
    failpoint("watch.committed")


def _ended(state: FlowState) -> dict[str, Any]:
    return {"state": state.value, "finished_at": Now(), "due_at": None}


def _seen(looks: list[Look]) -> list[dict[str, str]]:
    return [
        {
            "context": one.hop.context,
            "event": one.heard,
            "event_id": str(one.event_id),
            "applied_at": one.applied_at.isoformat() if one.applied_at else "",
        }
        for one in looks
        if one.is_through
    ]
