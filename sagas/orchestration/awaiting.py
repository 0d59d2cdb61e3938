"""Steps that sleep instead of doing something: which of them does what."""

from sagas.core.waits import SignalAwaited, TimeAwaited
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
    assert isinstance(awaits, TimeAwaited)
    return wait_for_time(work, awaits)
