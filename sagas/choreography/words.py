"""What is said of a flow: the missing hop, since when, what comes next, what can be pressed."""

from datetime import UTC

from sagas.choreography.looking import Look
from sagas.core.choreography import Choreography
from sagas.core.states import FlowState
from sagas.models import WatchedFlow


def gap_words(declared: Choreography, gap: Look) -> str:
    """Return which hop is missing, and since when."""
    hops = len(declared.hops)
    since = f"{gap.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if gap.since else "unknown"
    return f"hop {gap.number + 1} of {hops}: {gap.why()}; it could since {since}"


def missing_words(flow: WatchedFlow, declared: Choreography | None, gap: Look | None) -> str:
    """Return why a flow stands where it does; of one that is taken back what keeps that."""
    if flow.state in {FlowState.COMPLETED, FlowState.CLOSED}:
        return ""
    if flow.state == FlowState.COMPENSATING or declared is None:
        return flow.parked_reason or flow.missing
    return gap_words(declared, gap) if gap else ""


def next_words(flow: WatchedFlow, declared: Choreography | None, gap: Look | None) -> str:
    """Return what happens next by itself, and what an operator can do."""
    if declared is None:
        return "No release that runs here declares this flow: it is left to one that does."
    if flow.finished_at is not None:
        return _ended(flow, gap)
    if flow.parked_at is not None:
        undo = " Compensate takes back what was done." if declared.can_be_undone else ""
        return (
            "Nothing happens by itself. Resume delivers the missing event again, or finishes a flow"
            f" whose hops are all through by now.{undo} Close says that it was seen to by hand."
        )
    return _goes_on(flow, declared, gap)


def _goes_on(flow: WatchedFlow, declared: Choreography, gap: Look | None) -> str:
    if flow.state == FlowState.COMPENSATING:
        return "What was done is being taken back, the last hop first, until it is."
    if gap is None:
        return "Every hop is through: the next look says so."
    after = "what was done is taken back" if declared.can_be_undone else "an operator is asked"
    if not gap.can_be_redriven:
        return f"From the deadline on {after}: to deliver the event again would not help."
    left = declared.redrives - flow.redrives
    return f"From the deadline on it is delivered again, {left} more times; then {after}."


def _ended(flow: WatchedFlow, gap: Look | None) -> str:
    if flow.state == FlowState.COMPENSATED:
        late = " Its missing hops have come since, and found the door shut." if gap is None else ""
        return f"It was given up, and everything that can be taken back is.{late}"
    return "It is over." if flow.state == FlowState.COMPLETED else "An operator closed it."
