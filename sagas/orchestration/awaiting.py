"""Steps that sleep instead of doing something: which of them does what."""

from sagas.core.waits import ChildAwaited, SignalAwaited, TimeAwaited
from sagas.orchestration.children import undo_child, wait_for_child
from sagas.orchestration.compensation import undo_step
from sagas.orchestration.waits import wait_for_signal, wait_for_time
from sagas.orchestration.work import Done, Work


def arrive(work: Work) -> Done:
    """Carry a waiting step out, as far as what it waits for is there.

    :raises Waiting: if it is not; the saga sleeps
    :raises StepRejected: if it will not come any more, and the saga compensates
    """
    awaits = work.step.awaits
    if isinstance(awaits, SignalAwaited):
        return wait_for_signal(work, awaits)
    if isinstance(awaits, TimeAwaited):
        return wait_for_time(work, awaits)
    assert isinstance(awaits, ChildAwaited)
    return wait_for_child(work, awaits)


def go_back(work: Work) -> Done:
    """Undo a waiting step.

    :raises Waiting: if its child has still to end; the saga sleeps
    """
    if isinstance(work.step.awaits, ChildAwaited):
        return undo_child(work, work.step.awaits)
    return undo_step(work)
