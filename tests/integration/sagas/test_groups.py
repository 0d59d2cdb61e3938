"""Parallel groups: their branches run as messages of their own, and the last one goes on."""

from collections import Counter
from datetime import timedelta
from itertools import permutations

import pytest

from sagas import failpoints
from sagas.api import (
    Cancellation,
    Rejected,
    Saga,
    Unknown,
    cancel,
    child,
    compensatable,
    parallel,
    park,
    pivot,
    resume,
    retriable,
    start,
    transaction,
    uuid7,
)
from sagas.conf import conf
from sagas.core.keys import Direction
from sagas.models import SagaInstance, StepFault, StepRun
from sagas.orchestration import branch_rows, registry
from sagas.orchestration.branches import run_branch
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.watching import (
    barrier,
    branch,
    bring_to_its_end,
    make_branches_due,
    states,
)
from tests.together import together

pytestmark = pytest.mark.usefixtures("fan_saga")


def test_the_chain_ends_at_a_group_and_its_branches_are_messages(broker):
    saga_id = fan.begin()
    [first] = broker.take()
    assert (first.task, first.args[1:4]) == ("sagas.run_link", (0, 0, False))

    assert broker.run_chain(first) == "passed"
    saga = row(saga_id)
    assert (saga.status, saga.cursor, saga.pending, saga.leased_until) == ("running", 1, 3, None)
    messages = broker.take()
    assert [(m.task, m.args[1]) for m in messages] == [("sagas.run_branch", n) for n in (1, 2, 3)]
    assert states(saga_id) == {
        "take": "done",
        "pack": "pending",
        "hold": "pending",
        "score": "pending",
    }


def test_a_saga_with_groups_runs_to_its_end(broker):
    saga_id = fan.begin()

    ends = broker.drain()
    assert row(saga_id).status == "completed"
    assert sorted(trial.effects()) == ["book", "capture", "hold", "pack", "score", "take", "tell"]
    assert set(ends) == {"passed"}
    assert row(saga_id).state["kept"] == ["b1", "h1"]


# -- the join ---


@pytest.mark.parametrize("order", list(permutations((fan.PACK, fan.HOLD, fan.SCORE))))
def test_the_last_branch_goes_on_whichever_it_is_and_replies_are_kept_in_the_order_of_the_table(
    broker, group, order
):
    for left, number in zip((2, 1, 0), order, strict=True):
        assert (row(group).cursor, broker.take()) == (1, [])
        assert run_branch(group, number) is LinkEnd.PASSED
        assert row(group).pending == left

    saga = row(group)
    assert (saga.status, saga.cursor, saga.past_return) == ("running", fan.CAPTURE, False)
    assert saga.state["kept"] == ["b1", "h1"]
    [rest] = broker.take()
    assert (rest.task, rest.args[1:]) == ("sagas.run_link", (4, 4, False))


ONLY_GROUPS = Saga(
    name="orders.only_groups",
    version=1,
    state=fan.FanState,
    deadline=timedelta(minutes=5),
    steps=(
        parallel(
            retriable("book", do=fan.build_book),
            retriable("tell", do=fan.build_tell),
        ),
        parallel(
            retriable("book_again", do=fan.build_book),
            retriable("tell_again", do=fan.build_tell),
        ),
    ),
)


def begin(monkeypatch, *sagas):
    """Start the last of some definitions that no other test knows."""
    known = {(saga.name, saga.version): saga for saga in sagas}
    monkeypatch.setattr(registry, "SAGAS", {**registry.SAGAS, **known})
    saga_id = uuid7()
    with transaction("orders"):
        start(sagas[-1], fan.FanState(subject=saga_id), key="1", saga_id=saga_id)
    return saga_id


def test_a_group_that_is_the_first_of_a_saga_and_one_that_is_the_last(broker, monkeypatch):
    saga_id = begin(monkeypatch, ONLY_GROUPS)

    assert (row(saga_id).pending, row(saga_id).past_return) == (2, True)
    assert broker.drain() == ["passed"] * 4
    assert (row(saga_id).status, row(saga_id).pending) == ("completed", 0)
    assert trial.effects() == ["book", "tell"] * 2


def begin_child(state: fan.FanState) -> fan.FanState:
    return state


def key_of_child(state: fan.FanState) -> str:
    return str(state.subject)


def test_a_child_whose_last_branch_ends_it_tells_its_parent(broker, monkeypatch):
    parent = Saga(
        name="orders.parent_of_groups",
        version=1,
        state=fan.FanState,
        deadline=timedelta(minutes=5),
        steps=(
            pivot("capture", do=fan.build_capture),
            child("parts", of=ONLY_GROUPS, start=begin_child, key=key_of_child),
        ),
    )
    saga_id = begin(monkeypatch, ONLY_GROUPS, parent)

    broker.drain()
    assert SagaInstance.objects.get(parent_id=saga_id).status == "completed"
    assert row(saga_id).status == "completed", "its bell was rung"


def test_a_saga_with_open_branches_cannot_be_claimed_as_a_whole(group):
    assert run_link(group, 0, 6, Direction.DO, swept=True) is LinkEnd.STOPPED
    assert row(group).attempts == 0


def test_per_context_queues_carry_each_branch_to_its_own_context(broker, group, settings):
    settings.STEP_QUEUES = "per-context"
    resume_after_parking(group)

    assert [m.options["queue"] for m in broker.take()] == ["orders", "payments", "billing"]


def resume_after_parking(saga_id):
    park(saga_id, by="alice", reason="stop")
    resume(saga_id, by="alice", reason="go")


# -- copies, faults, parking ---


def test_a_copy_of_a_branch_costs_no_attempt(broker, group):
    copies = []

    def come_meanwhile():
        copies.extend(together(lambda: run_branch(group, fan.PACK)))

    trial.SCRIPT["pack"] = come_meanwhile

    assert run_branch(group, fan.PACK) is LinkEnd.PASSED
    assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    assert copies == [LinkEnd.STOPPED]
    assert (branch(group, fan.PACK).attempts, trial.effects()) == (1, ["take", "pack"])


def test_a_branch_that_fails_waits_for_its_delay_and_its_siblings_go_on(broker, group):
    trial.SCRIPT["pack"] = raising(RuntimeError("down"))
    assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    fault = StepFault.objects.get(saga_id=group)
    assert (fault.name, fault.attempt, fault.kind) == ("pack", 1, "fault")
    assert fault.next_at == branch(group, fan.PACK).not_before == branch(group, fan.PACK).due_at

    assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    assert branch(group, fan.PACK).attempts == 1, "the delay is not over"
    trial.SCRIPT.clear()
    assert run_branch(group, fan.HOLD) is LinkEnd.PASSED
    assert run_branch(group, fan.SCORE) is LinkEnd.PASSED
    make_branches_due(group)
    assert sweep() == 1
    assert [m.args for m in broker.take()] == [(str(group), fan.PACK)]
    assert run_branch(group, fan.PACK) is LinkEnd.PASSED
    assert row(group).cursor == fan.CAPTURE


def test_a_call_without_an_answer_is_noted_as_unknown(broker, group):
    trial.SCRIPT["hold"] = raising(Unknown("no answer"))

    assert run_branch(group, fan.HOLD) is LinkEnd.STOPPED
    assert StepFault.objects.get(saga_id=group).kind == "unknown"
    assert branch(group, fan.HOLD).state == "intended"


def test_a_branch_that_wears_out_parks_its_saga_and_a_resume_counts_anew(broker, group):
    trial.SCRIPT["pack"] = raising(RuntimeError("down"))
    StepRun.objects.filter(saga_id=group, step_no=fan.PACK).update(attempts=bound() - 1)
    assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    assert row(group).parked_reason == f"pack: {bound()} attempts, the last: RuntimeError: down"
    assert run_branch(group, fan.HOLD) is LinkEnd.STOPPED, "nothing begins while it is parked"
    assert branch(group, fan.HOLD).attempts == 0

    trial.SCRIPT.clear()
    assert resume(group, by="alice", reason="it is up again") is True
    assert [m.args[1] for m in broker.sent] == [1, 2, 3]
    assert broker.drain() == ["passed"] * 6
    assert row(group).status == "completed"


def bound():
    return int(conf.MAX_ATTEMPTS)


def test_a_branch_that_kills_its_process_parks_its_saga_after_the_bound(broker, group):
    for _ in range(bound()):
        assert branch_rows.claim(group, fan.PACK) is not None
        make_branches_due(group)

    assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    assert row(group).parked_reason == (
        f"{bound()} attempts of pack ended without a trace: workers died or froze in it"
    )
    assert trial.effects() == ["take"]


def test_a_branch_under_way_when_its_sibling_parks_the_saga_is_recorded(broker, group):
    StepRun.objects.filter(saga_id=group, step_no=fan.PACK).update(attempts=bound() - 1)
    trial.SCRIPT["pack"] = raising(RuntimeError("down"))
    trial.SCRIPT["hold"] = lambda: run_branch(group, fan.PACK) and "h1"

    assert run_branch(group, fan.HOLD) is LinkEnd.PASSED
    assert row(group).parked_at is not None
    assert (row(group).pending, branch(group, fan.HOLD).state) == (2, "done")


def test_the_sweeper_rings_for_branches_whose_messages_were_lost_or_whose_worker_died(
    broker, group
):
    assert branch_rows.claim(group, fan.HOLD) is not None
    make_branches_due(group)

    assert sweep() == 3
    assert sorted(m.args[1] for m in broker.take()) == [1, 2, 3]
    assert sweep() == 0, "they have just been rung for"


def test_the_sweeper_rings_for_no_branch_of_a_saga_that_is_parked(broker, group):
    park(group, by="alice", reason="stop")
    make_branches_due(group)

    assert (sweep(), broker.take()) == (0, [])
    assert set(states(group).values()) == {"done", "pending"}


def test_a_branch_of_a_saga_that_nobody_here_knows_stays_due(broker, group, monkeypatch):
    monkeypatch.setattr(registry, "SAGAS", {})
    make_branches_due(group)

    assert (sweep(), broker.take()) == (0, [])
    assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    assert (branch(group, fan.PACK).attempts, branch(group, fan.PACK).leased_until) == (0, None)
    assert branch(group, fan.PACK).not_before is not None
    assert not StepFault.objects.filter(saga_id=group).exists()


# -- the way back ---


def test_a_rejected_branch_turns_the_saga_round_and_every_branch_is_visited(broker, group):
    run_branch(group, fan.PACK)
    trial.SCRIPT["hold"] = raising(Rejected("declined"))

    assert run_branch(group, fan.HOLD) is LinkEnd.REJECTED
    saga = row(group)
    assert (saga.status, saga.cursor, saga.pending) == ("compensating", 6, 0)
    assert (saga.failure, saga.failed_step) == ("declined", "hold")
    assert run_branch(group, fan.SCORE) is LinkEnd.STOPPED, "no branch begins any more"
    assert bring_to_its_end(broker, group) == "compensated"
    assert trial.effects() == ["take", "pack", "refused_hold", "release", "unpack", "put_back"]
    assert states(group) == {
        "take": "done",
        "pack": "done",
        "hold": "rejected",
        "score": "canceled",
    }
    assert states(group, "undo") == {
        "take": "done",
        "pack": "done",
        "hold": "done",
        "score": "nothing",
        "capture": "nothing",
        "book": "nothing",
        "tell": "nothing",
    }
    assert not StepRun.objects.filter(saga_id=group, due_at__isnull=False).exists()


def test_a_rejected_branch_is_told_to_celery_as_a_rejected_link_is(broker, group):
    trial.SCRIPT["pack"] = raising(Rejected("sold_out"))
    make_branches_due(group)
    sweep()

    first, *_ = broker.take()
    assert broker.run_chain(first) == "rejected"
    assert [m.task for m in broker.sent] == ["sagas.continue_saga"]
    broker.drain()
    assert row(group).status == "compensated"


def test_a_cancel_in_the_middle_of_a_group_undoes_what_is_done(broker, group):
    run_branch(group, fan.HOLD)

    assert cancel(group, reason="no", by="alice") is Cancellation.ACCEPTED
    broker.drain()
    assert row(group).status == "compensated"
    assert trial.effects() == ["take", "hold", "release", "put_back"]


@pytest.mark.parametrize("by", ["a branch", "the sweeper"])
def test_a_deadline_in_a_group_turns_the_saga_round(broker, group, by):
    SagaInstance.objects.filter(id=group).update(deadline_at="2020-01-01T00:00:00Z")

    if by == "a branch":
        assert run_branch(group, fan.PACK) is LinkEnd.STOPPED
    else:
        make_due(group)
        assert sweep() == 1
    broker.drain()
    assert (row(group).status, row(group).failure) == ("compensated", "deadline")
    assert trial.effects() == ["take", "put_back"]


def test_a_retriable_branch_that_is_refused_is_tried_again(broker, group):
    trial.SCRIPT["book"] = raising(Rejected("closed"))
    for number in (fan.PACK, fan.HOLD, fan.SCORE):
        run_branch(group, number)
    broker.drain()
    saga = row(group)
    assert (saga.status, saga.cursor, saga.pending, saga.past_return) == ("running", 5, 1, True)
    assert StepFault.objects.get(saga_id=group).error == "CannotReject: book: closed"
    assert cancel(group, reason="no", by="alice") is Cancellation.TOO_LATE

    trial.SCRIPT.clear()
    assert bring_to_its_end(broker, group) == "completed"


def test_a_compensation_that_dies_after_it_took_a_branch_undoes_it_the_next_time(
    broker, group, monkeypatch
):
    trial.SCRIPT["hold"] = raising(Unknown("no answer"))
    run_branch(group, fan.HOLD)
    cancel(group, reason="no", by="alice")
    broker.take()
    monkeypatch.setattr(failpoints, "_hits", Counter())
    monkeypatch.setenv("CONCORD_FAILPOINTS", "branch.taken/undo.hold=raise:1")

    run_link(group, 0, 6, Direction.UNDO, swept=True)
    assert (row(group).status, row(group).cursor) == ("compensating", fan.HOLD)
    assert branch(group, fan.HOLD).state == "canceled"
    assert bring_to_its_end(broker, group) == "compensated"
    assert trial.effects() == ["take", "release", "put_back"]
    assert trial.CALLS == ["hold", "release"]


# -- conditions ---


def test_a_step_whose_condition_is_false_is_skipped_and_undone_by_nothing(broker):
    saga_id = fan.begin(is_risky=False)
    trial.SCRIPT["capture"] = raising(Rejected("expired"))

    broker.drain()
    assert row(saga_id).status == "compensated"
    run = branch(saga_id, fan.SCORE)
    assert (run.state, run.reply) == ("skipped", {"when": False})
    assert barrier("billing", saga_id, fan.SCORE) == ("skipped", {"when": False})
    assert states(saga_id, "undo")["score"] == "nothing"
    assert "score" not in trial.effects()
    assert "unscore" not in trial.effects()


@pytest.mark.parametrize(("is_risky", "effects"), [(True, ["score", "book"]), (False, ["book"])])
def test_a_condition_holds_outside_of_groups_and_for_a_pivot_and_what_follows(
    broker, monkeypatch, is_risky, effects
):
    chosen = Saga(
        name="orders.chosen",
        version=1,
        state=fan.FanState,
        deadline=timedelta(minutes=5),
        steps=(
            compensatable("score", do=fan.build_score, undo=fan.build_unscore, when=fan.is_risky),
            pivot("capture", do=fan.build_capture, when=never),
            retriable("book", do=fan.build_book),
            retriable("tell", do=fan.build_tell, when=never),
        ),
    )
    monkeypatch.setattr(registry, "SAGAS", {**registry.SAGAS, (chosen.name, 1): chosen})
    saga_id = uuid7()
    with transaction("orders"):
        state = fan.FanState(subject=saga_id, is_risky=is_risky)
        start(chosen, state, key="1", saga_id=saga_id)

    assert broker.drain() == ["passed"]
    assert (row(saga_id).status, trial.effects(), trial.CALLS) == ("completed", effects, [])
    assert row(saga_id).past_return is True
    assert states(saga_id)["tell"] == "skipped"


def never(state: fan.FanState) -> bool:
    return False


def test_a_condition_that_fails_is_a_fault(group):
    trial.SCRIPT["is_risky"] = raising(ZeroDivisionError("oops"))

    assert run_branch(group, fan.SCORE) is LinkEnd.STOPPED
    assert StepFault.objects.get(saga_id=group).error == "ZeroDivisionError: oops"


def test_past_the_pivot_a_branch_does_not_ask_for_the_deadline(broker):
    saga_id = fan.begin()
    overdue = SagaInstance.objects.filter(id=saga_id)
    trial.SCRIPT["capture"] = lambda: overdue.update(deadline_at="2020-01-01T00:00:00Z") and None

    broker.drain()
    assert row(saga_id).status == "completed"
