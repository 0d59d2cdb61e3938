"""Groups where every context has a database of its own: the effect first, then the count."""

import pytest

from sagas import failpoints
from sagas.api import cancel, park, skip
from sagas.core.keys import Direction
from sagas.orchestration import barriers, branch_rows, commits
from sagas.orchestration.branches import run_branch
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from tests.concurrency.sagas import test_detached
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.watching import (
    barrier,
    branch,
    bring_to_its_end,
    make_branches_due,
    states,
)

detached = test_detached.detached
pytestmark = pytest.mark.usefixtures("detached", "fan_saga")


@pytest.fixture
def fail_at(monkeypatch):
    """Lets whoever comes to a place for the first time fail, or do something there."""

    def arm(place, act):
        todo = [act]

        def failpoint(name, detail=""):
            if f"{name}/{detail}" == place and todo:
                todo.pop()()
            return failpoints.failpoint(name, detail)

        monkeypatch.setattr(commits, "failpoint", failpoint)

    return arm


def die():
    raise failpoints.FailpointHit("effect.committed")


def in_its_group(broker):
    saga_id = fan.begin()
    broker.take()
    assert run_link(saga_id, 0, 0, Direction.DO) is LinkEnd.PASSED
    broker.take()
    return saga_id


def test_a_saga_with_groups_runs_to_its_end_over_several_databases(broker):
    saga_id = fan.begin(is_risky=False)

    assert set(broker.drain()) == {"passed"}
    assert (row(saga_id).status, row(saga_id).state["kept"]) == ("completed", ["b1", "h1"])
    assert sorted(trial.effects()) == ["book", "capture", "hold", "pack", "take", "tell"]
    assert states(saga_id)["score"] == "skipped"


def test_a_branch_that_dies_between_its_two_commits_takes_effect_once(broker, fail_at):
    saga_id = in_its_group(broker)
    fail_at("effect.committed/pack", die)
    run_branch(saga_id, fan.PACK)
    assert (trial.effects(), row(saga_id).pending) == (["take", "pack"], 3)

    make_branches_due(saga_id)
    assert run_branch(saga_id, fan.PACK) is LinkEnd.PASSED
    assert (trial.effects(), row(saga_id).pending) == (["take", "pack"], 2)
    assert branch(saga_id, fan.PACK).reply == {"box": "b1"}


def run_twice_under_one_claim(saga_id, monkeypatch):
    """A worker whose commit got through and whose answer did not, runs the branch again."""
    claimed = branch_rows.claim(saga_id, fan.PACK)
    with monkeypatch.context() as patch:
        patch.setattr(branch_rows, "claim", lambda *_: claimed)
        assert run_branch(saga_id, fan.PACK) is LinkEnd.PASSED
        again = run_branch(saga_id, fan.PACK)
    assert trial.effects() == ["take", "pack"], "one branch took effect twice"
    assert (again, row(saga_id).pending) == (LinkEnd.STOPPED, 2), "one branch counted twice"


def test_a_branch_that_is_done_takes_effect_and_counts_once(broker, monkeypatch):
    run_twice_under_one_claim(in_its_group(broker), monkeypatch)


@pytest.mark.parametrize(
    ("module", "name", "guard", "instead", "wrong"),
    [
        (branch_rows, "_COMMIT", "AND r.state IN ('pending', 'intended')", "", "counted twice"),
        (barriers, "_RECORDED", "state <> 'intended'", "false", "took effect twice"),
    ],
    ids=["state of the branch", "its barrier"],
)
def test_without_its_guard_a_branch_that_is_done_goes_wrong(
    broker, monkeypatch, module, name, guard, instead, wrong
):
    saga_id = in_its_group(broker)
    sql = getattr(module, name)
    assert sql.count(guard) == 1
    monkeypatch.setattr(module, name, sql.replace(guard, instead))
    if module is barriers:  # it would refuse the second row as well
        open_again = barriers._TAKE.replace("WHERE b.state = 'intended'", "")
        monkeypatch.setattr(barriers, "_TAKE", open_again)
    with pytest.raises(AssertionError, match=wrong):
        run_twice_under_one_claim(saga_id, monkeypatch)


def test_a_cancel_between_the_two_commits_of_a_branch_undoes_its_effect(broker, fail_at):
    saga_id = in_its_group(broker)
    fail_at("effect.committed/pack", lambda: cancel(saga_id, reason="no", by="alice"))

    assert run_branch(saga_id, fan.PACK) is LinkEnd.STOPPED
    assert bring_to_its_end(broker, saga_id) == "compensated"
    assert trial.effects() == ["take", "pack", "unpack", "put_back"]


def test_a_skip_over_two_databases_closes_the_barrier_first(broker):
    saga_id = in_its_group(broker)
    park(saga_id, by="alice", reason="stop")

    assert skip(saga_id, by="bob", reason="by hand", step="score") is True
    told = {"skipped_by": "bob", "reason": "by hand"}
    assert branch(saga_id, fan.SCORE).state == "skipped"
    assert barrier("billing", saga_id, fan.SCORE) == ("skipped", told)
    assert bring_to_its_end(broker, saga_id) == "completed"
    assert "score" not in trial.effects()
