"""Sagas of the tests' own whose steps may take so long and no longer."""

from datetime import timedelta

from sagas.api import (
    RetryPolicy,
    Saga,
    begun,
    compensatable,
    pivot,
    retriable,
    start,
    transaction,
    uuid7,
)
from tests.integration.sagas import trial

MINUTE = timedelta(minutes=1)

SLOW = Saga(
    name="orders.slow",
    version=1,
    state=trial.TrialState,
    deadline=timedelta(hours=10),
    steps=(
        begun("open", undo=trial.build_close),
        compensatable("take", do=trial.build_take, undo=trial.build_put_back, within=MINUTE),
        compensatable(
            "hold",
            do=trial.build_hold,
            undo=trial.build_release,
            keep=trial.keep_hold,
            within=2 * MINUTE,
            retry=RetryPolicy(base=3600, cap=7200),
        ),
        pivot("capture", do=trial.build_capture),
        retriable("book", do=trial.build_book, within=3 * MINUTE),
    ),
)


def begin(saga=SLOW):
    """Start such a saga in a committed transaction."""
    saga_id = uuid7()
    with transaction("orders"):
        state = trial.TrialState(subject=saga_id)
        return start(saga, state, key=str(saga_id), saga_id=saga_id)
