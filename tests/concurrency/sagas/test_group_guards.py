"""Each guard of ``saga_group.pml`` is taken out of its statement, and a named scenario goes wrong.

As in ``test_guards.py``: where another guard does the same work while engine and context share a
database, the test says so by its name, and takes both out.
"""

import threading

import pytest

from sagas.api import Rejected, Unknown, cancel, park, resume
from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.models import StepFault, StepRun
from sagas.orchestration import branch_rows, branch_stops, compensation, store
from sagas.orchestration.branches import run_branch
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from sagas.transactions import is_detached
from tests.concurrency.sagas.races import Gate
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.watching import branch, make_branches_due, states
from tests.together import together
from tests.workers.shop import rows

TOKEN = "AND r.fencing_token = %(token)s"
OPEN = "AND r.state IN ('pending', 'intended')"
SAGA = "AND status = 'running' AND cursor = %(group)s"
BARRIER = "WHERE b.state = 'intended'"
TAKEN = "fencing_token = r.fencing_token + 1, state = 'canceled',"

BTOK = (branch_rows, "_COMMIT", TOKEN, "")
BSTATE = (branch_rows, "_COMMIT", OPEN, "")
BBARRIER = (branch_rows, "_COMMIT", BARRIER, "")
SFENCE = (branch_rows, "_COMMIT", SAGA, "")
REFSAGA = (branch_rows, "_INTEND", SAGA, "")
REFBR = (branch_rows, "_INTEND", f"{OPEN} {TOKEN}", "")
REFBARRIER = (branch_rows, "_INTEND", BARRIER, "")
CTAKE = (branch_stops, "_TAKE", TAKEN, "")
CTOMB = (branch_stops, "_TAKE", "state = 'canceled',", "")
REJTOK = (branch_stops, "_REJECT", TOKEN, "")
REJSAGA = (branch_stops, "_REJECT", SAGA, "")
FAULTTOK = (branch_stops, "_FAULT", "AND fencing_token = %(token)s", "")
RESETALL = (branch_stops, "_RESET", "attempts = 0,", "")
CLAIM = (branch_rows, "_CLAIM")
CLAIMED = {
    "status": (*CLAIM, "AND s.status = 'running'", ""),
    "counter": (*CLAIM, "AND s.pending > 0", ""),
    "cursor": (*CLAIM, "AND s.cursor <= r.step_no", ""),
}


def undo(saga_id):
    return run_link(saga_id, 0, 6, Direction.UNDO, swept=True)


def elsewhere(action):
    """Do something in a session of its own."""
    return together(action)[0]


# -- scenarios: each returns when everything is right, and raises an AssertionError when not ---


def parked_during_a_branchs_call(group):
    """An operator parks the saga while a branch waits for the provider's answer."""
    trial.SCRIPT["hold"] = lambda: park(group, by="alice", reason="stop") and "h1"
    run_branch(group, fan.HOLD)
    assert branch(group, fan.HOLD).state == "intended", "recorded although the saga is parked"


def canceled_during_a_branchs_call(group):
    """A customer cancels while a branch waits for the provider's answer."""
    trial.SCRIPT["hold"] = lambda: cancel(group, reason="no", by="alice") and "h1"
    run_branch(group, fan.HOLD)
    assert branch(group, fan.HOLD).state != "done", "recorded for a saga that compensates"
    assert is_detached("payments") or "hold" not in trial.effects(), "else it is undone later"
    assert not StepFault.objects.filter(saga_id=group).exists(), "only the database refused it"


def canceled_before_a_branchs_intent(group):
    """A customer cancels when the intent is written and its guard has not been asked."""
    trial.SCRIPT["intend_hold"] = lambda: elsewhere(lambda: cancel(group, reason="no", by="alice"))
    run_branch(group, fan.HOLD)
    assert trial.CALLS == [], "it called out for a saga that compensates"


def overtaken_before_a_branchs_intent(group):
    """A lease runs out, and another worker has the branch when the first one goes on."""

    def slow():
        make_branches_due(group)
        return branch_rows.claim(group, fan.HOLD)

    trial.SCRIPT["intend_hold"] = lambda: elsewhere(slow)
    run_branch(group, fan.HOLD)
    assert trial.CALLS == [], "two workers call out for one branch"


def overtaken_in_a_branchs_call(group, then):
    """The same in the middle of the call, which then ends as it ends."""

    def slow():
        make_branches_due(group)
        assert branch_rows.claim(group, fan.HOLD) is not None
        then()

    trial.SCRIPT["hold"] = slow
    run_branch(group, fan.HOLD)


def a_no_comes_after_another_worker_took_over(group):
    overtaken_in_a_branchs_call(group, raising(Rejected("declined")))
    assert row(group).status == "running", "the no of a worker that has lost the branch"


def a_fault_comes_after_another_worker_took_over(group):
    overtaken_in_a_branchs_call(group, raising(RuntimeError("late")))
    assert branch(group, fan.HOLD).leased_until is not None, "it ended another worker's lease"


def a_no_comes_after_a_cancel(group):
    def canceled():
        cancel(group, reason="changed_mind", by="alice")
        raise Rejected("declined")

    trial.SCRIPT["hold"] = canceled
    run_branch(group, fan.HOLD)
    assert row(group).failure == "changed_mind", "it began all over for another reason"


def a_compensated_saga_leaves_no_branch_open(group):
    cancel(group, reason="no", by="alice")
    undo(group)
    assert row(group).status == "compensated"
    assert set(states(group).values()) == {"done", "canceled"}
    make_branches_due(group)
    assert sweep() == 0, "the sweeper would look at it for ever"


def a_resumed_branch_counts_anew(group):
    trial.SCRIPT["pack"] = raising(RuntimeError("down"))
    StepRun.objects.filter(saga_id=group, step_no=fan.PACK).update(attempts=conf.MAX_ATTEMPTS - 1)
    run_branch(group, fan.PACK)
    resume(group, by="alice", reason="go")
    run_branch(group, fan.PACK)
    assert row(group).parked_at is None, "it was parked again at its first attempt"


def a_call_that_may_have_been_made_is_undone(group):
    trial.SCRIPT["hold"] = raising(Unknown("no answer"))
    run_branch(group, fan.HOLD)
    cancel(group, reason="no", by="alice")
    undo(group)
    assert trial.CALLS == ["hold", "release"], "a branch was not visited"


def a_branch_that_never_ran_is_not_undone(group):
    cancel(group, reason="no", by="alice")
    undo(group)
    assert trial.effects() == ["take", "put_back"], "what never happened was undone"


def a_copy_of_a_branch_comes_while_parked(group):
    park(group, by="alice", reason="stop")
    run_branch(group, fan.PACK)
    assert branch(group, fan.PACK).attempts == 0


def a_copy_of_a_branch_comes_during_its_call(group):
    trial.SCRIPT["hold"] = lambda: trial.SCRIPT.clear() or str(run_branch(group, fan.HOLD))
    assert run_branch(group, fan.HOLD) is LinkEnd.PASSED, "a living worker was robbed of it"


def a_copy_of_a_branch_comes_before_its_delay_is_over(group):
    trial.SCRIPT["pack"] = raising(RuntimeError("down"))
    run_branch(group, fan.PACK)
    run_branch(group, fan.PACK)
    assert branch(group, fan.PACK).attempts == 1


def a_link_comes_while_branches_are_open(group):
    assert run_link(group, 0, 6, Direction.DO, swept=True) is LinkEnd.STOPPED
    assert row(group).attempts == 0, "the saga was taken as a whole"
    assert trial.effects() == ["take"]


NEEDED = {
    "BTOK": ([BTOK], parked_during_a_branchs_call),
    "SFENCE": ([SFENCE], canceled_during_a_branchs_call),
    "REFSAGA": ([REFSAGA], canceled_before_a_branchs_intent),
    "REFBR": ([REFBR], overtaken_before_a_branchs_intent),
    "CTOMB": ([CTOMB], a_compensated_saga_leaves_no_branch_open),
    "REJTOK": ([REJTOK], a_no_comes_after_another_worker_took_over),
    "the saga in a rejection": ([REJSAGA], a_no_comes_after_a_cancel),
    "token in a branch's fault": ([FAULTTOK], a_fault_comes_after_another_worker_took_over),
    "RESETALL": ([RESETALL], a_resumed_branch_counts_anew),
    "parked in a branch's claim": (
        [(*CLAIM, "AND s.parked_at IS NULL", "")],
        a_copy_of_a_branch_comes_while_parked,
    ),
    "lease in a branch's claim": (
        [(*CLAIM, "AND (r.leased_until IS NULL OR r.leased_until <= clock_timestamp())", "")],
        a_copy_of_a_branch_comes_during_its_call,
    ),
    "delay in a branch's claim": (
        [(*CLAIM, "AND (r.not_before IS NULL OR r.not_before <= clock_timestamp())", "")],
        a_copy_of_a_branch_comes_before_its_delay_is_over,
    ),
    "open branches in the claim of a saga": (
        [(store, "_CLAIM", "AND pending = 0", "")],
        a_link_comes_while_branches_are_open,
    ),
}


@pytest.mark.parametrize("name", NEEDED)
def test_with_its_guard_the_branch_is_right(broker, group, name):
    _, scenario = NEEDED[name]

    scenario(group)


@pytest.mark.parametrize("name", NEEDED)
def test_without_its_guard_the_branch_goes_wrong(broker, group, without, name):
    guards, scenario = NEEDED[name]
    without(*guards)

    with pytest.raises(AssertionError):
        scenario(group)


# -- guards that stand in code ---


def test_without_a_visit_to_every_branch_a_call_is_left_standing(broker, group, monkeypatch):
    """ALLB: a compensation that visits only what is done."""
    only_done = compensation._has_effect

    def visited(work):
        return only_done(work) and branch(group, work.number).state == "done"

    a_call = a_call_that_may_have_been_made_is_undone
    monkeypatch.setattr(compensation, "_has_effect", visited)
    with pytest.raises(AssertionError, match="not visited"):
        a_call(group)


def test_with_a_visit_to_every_branch_no_call_is_left_standing(broker, group):
    a_call_that_may_have_been_made_is_undone(group)


def test_without_asking_what_there_is_to_undo_it_undoes_what_never_happened(
    broker, group, monkeypatch
):
    """UNDOIF."""
    monkeypatch.setattr(compensation, "_has_effect", lambda _: True)
    with pytest.raises(AssertionError, match="what never happened"):
        a_branch_that_never_ran_is_not_undone(group)


def test_what_never_happened_is_not_undone(broker, group):
    a_branch_that_never_ran_is_not_undone(group)


# -- guards of which one would do while engine and context share a database ---


@pytest.fixture
def run_twice_under_one_claim(broker, group, monkeypatch):
    """A worker whose commit got through and whose answer did not, runs the branch again."""
    claimed = branch_rows.claim(group, fan.PACK)
    monkeypatch.setattr(branch_rows, "claim", lambda *_: claimed)

    def scenario():
        run_branch(group, fan.PACK)
        run_branch(group, fan.PACK)
        assert trial.effects() == ["take", "pack"], "one branch took effect twice"
        assert row(group).pending == 2

    return scenario


@pytest.mark.colocated  # over two databases each has its own: test_detached_groups.py
@pytest.mark.parametrize("guard", [BSTATE, BBARRIER], ids=["BSTATE", "barrier"])
def test_the_state_of_a_branch_and_its_barrier_stand_in_for_each_other(
    without, run_twice_under_one_claim, guard
):
    without(guard)

    run_twice_under_one_claim()


@pytest.mark.colocated
def test_without_the_state_of_a_branch_and_its_barrier_it_takes_effect_twice(
    without, run_twice_under_one_claim
):
    without(BSTATE, BBARRIER)

    with pytest.raises(AssertionError, match="took effect twice"):
        run_twice_under_one_claim()


def thawed_after_its_compensation(group):
    """A worker freezes between claim and intent, and wakes when its branch has been undone."""
    gate = Gate()
    trial.SCRIPT["intend_hold"] = gate.wait_here

    def compensation_():
        gate.when_reached()
        cancel(group, reason="no", by="alice")
        run_link(group, fan.HOLD, 6, Direction.UNDO, swept=True)
        gate.open()

    together(lambda: run_branch(group, fan.HOLD), compensation_)
    assert trial.CALLS == [], "a branch called out after it had been undone"


THREE = {"CTAKE": CTAKE, "REFSAGA": REFSAGA, "tombstone": REFBARRIER}


@pytest.mark.parametrize("left", THREE)
def test_one_of_three_refuses_a_branch_that_thaws_after_its_compensation(
    broker, group, without, without_sight_of_open_branches, left
):
    without(*[guard for name, guard in THREE.items() if name != left])

    thawed_after_its_compensation(group)


@pytest.mark.colocated  # over two databases the barrier is not in the statement of the intent
def test_without_the_three_a_branch_calls_out_after_its_compensation(
    broker, group, without, without_sight_of_open_branches
):
    without(*THREE.values())

    with pytest.raises(AssertionError, match="after it had been undone"):
        thawed_after_its_compensation(group)


@pytest.fixture
def without_sight_of_open_branches(monkeypatch):
    """A branch that is not taken keeps its due time, as the constraint wants it."""
    kept = branch_stops._TAKE.replace("due_at = NULL,", "")
    monkeypatch.setattr(branch_stops, "_TAKE", kept)


@pytest.mark.parametrize("left", CLAIMED)
def test_one_of_three_refuses_the_claim_of_a_branch_during_the_compensation(
    broker, group, without, left
):
    without(*[guard for name, guard in CLAIMED.items() if name != left])
    cancel(group, reason="no", by="alice")

    run_branch(group, fan.PACK)
    assert branch(group, fan.PACK).attempts == 0


def test_without_the_three_a_branch_begins_during_the_compensation(broker, group, without):
    without(*CLAIMED.values())
    cancel(group, reason="no", by="alice")

    run_branch(group, fan.PACK)
    assert branch(group, fan.PACK).attempts == 1
    assert trial.effects() == ["take"], "its commit is refused all the same"


# -- the row that an intent holds ---


def canceled_while_an_intent_commits(group, monkeypatch):
    """Who is first: the cancel, or the intent that has asked its guard and not committed."""
    order, gate, canceled = [], Gate(), threading.Event()

    def at(name, detail=""):
        if name == "intent.before_commit":
            gate.wait_here()
            order.append("intent")

    from sagas.orchestration import work

    monkeypatch.setattr(work, "failpoint", at)

    def customer():
        gate.when_reached()
        cancel(group, reason="no", by="alice")
        order.append("cancel")
        canceled.set()

    def watcher():
        gate.when_reached()
        while not canceled.is_set() and not somebody_waits():
            canceled.wait(0.005)
        gate.open()

    together(lambda: run_branch(group, fan.HOLD), customer, watcher)
    assert order == ["intent", "cancel"], "the saga turned round behind the back of its branch"


def somebody_waits():
    return bool(
        rows(
            "SELECT 1 FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    )


def test_a_cancel_waits_for_an_intent_that_is_about_to_commit(broker, group, monkeypatch):
    canceled_while_an_intent_commits(group, monkeypatch)
    undo(group)

    assert trial.CALLS == ["hold", "release"]
    assert row(group).status == "compensated"


def test_without_the_lock_a_cancel_overtakes_an_intent(broker, group, monkeypatch, without):
    without((branch_rows, "_INTEND", " FOR SHARE", ""))

    with pytest.raises(AssertionError, match="behind the back"):
        canceled_while_an_intent_commits(group, monkeypatch)
