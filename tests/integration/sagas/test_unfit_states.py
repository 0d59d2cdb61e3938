"""A state that could not be read back is refused by whoever would write it."""

from dataclasses import replace

import pytest

from sagas.api import cancel, start, transaction, uuid7
from sagas.core.codec import CannotEncode
from sagas.models import SagaInstance
from sagas.orchestration import registry
from sagas.orchestration.branches import run_branch
from sagas.transactions import is_detached
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import row


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (trial.TrialState(subject=7), r"TrialState\.subject: 7 is not a UUID"),
        (fan.FanState(subject=uuid7()), "expected a TrialState, found FanState"),
    ],
    ids=["a field", "another state"],
)
def test_a_start_is_refused_before_anything_is_written(broker, state, said):
    with pytest.raises(CannotEncode, match=said), transaction("orders"):
        start(trial.TRIAL, state, key="k")

    assert not SagaInstance.objects.exists()


def unfit(state, reply):
    return replace(state, hold=42)


@pytest.mark.parametrize("where", ["reply", "keep"])
def test_a_step_whose_result_is_unfit_is_a_fault_that_can_be_undone(
    broker, monkeypatch, settings, where
):
    """Written, it would park the saga, and stop its compensation too."""
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    if where == "reply":
        trial.SCRIPT["hold"] = lambda: 42
    else:
        steps = tuple(
            replace(step, keep=unfit if step.keep else None) for step in trial.TRIAL.steps
        )
        changed = replace(trial.TRIAL)
        object.__setattr__(changed, "steps", steps)
        monkeypatch.setitem(registry.SAGAS, (trial.TRIAL.name, 1), changed)
    saga_id = trial.begin()
    broker.drain()
    stopped = row(saga_id)

    field = "Held.hold" if where == "reply" else "TrialState.hold"
    assert f"CannotEncode: {field}: expected str, found 42" in stopped.parked_reason
    assert (stopped.cursor, stopped.state["hold"]) == (2, None)
    cancel(saga_id, reason="unfit", by="alice")
    broker.drain()
    assert row(saga_id).status == "compensated"
    # A context with a database of its own had committed its part before the engine looked.
    kept = ["hold"] if where == "keep" and is_detached("payments") else []
    assert trial.effects(saga_id) == ["take", *kept, "release", "put_back", "close"]


def test_a_branch_whose_fold_is_unfit_leaves_the_group_as_it_was(broker, group, monkeypatch):
    saga = registry.SAGAS[fan.FAN.name, 1]
    steps = tuple(replace(step, keep=spoil if step.keep else None) for step in saga.steps)
    changed = replace(saga)
    object.__setattr__(changed, "steps", steps)
    monkeypatch.setitem(registry.SAGAS, (saga.name, 1), changed)
    before = row(group).state
    for number in (fan.PACK, fan.SCORE, fan.HOLD):
        run_branch(group, number)

    assert (row(group).status, row(group).state) == ("running", before)
    assert cancel(group, reason="unfit", by="alice").value == "accepted"
    broker.drain()
    assert row(group).status == "compensated"


def spoil(state, reply):
    return replace(state, subject="nobody")
