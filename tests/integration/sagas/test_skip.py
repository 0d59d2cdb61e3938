"""An operator's skip: the step that a parked saga stands at is settled by hand."""

import pytest

from billing.models import Barrier as BillingBarrier
from orders.models import Barrier
from sagas.api import ReasonMissing, Rejected, Unknown, cancel, park, resume, skip
from sagas.management.commands.sagas import ACTS
from sagas.models import OperatorAction, SagaInstance, StepRun
from sagas.orchestration import registry
from sagas.orchestration.branches import run_branch
from sagas.orchestration.carried import LinkEnd
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_commands import said
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.watching import barrier, branch, bring_to_its_end, shown, states
from tests.together import together
from tests.workers.shop import assert_invariants

pytestmark = pytest.mark.usefixtures("fan_saga")

NOT_MISSED = "is done or cannot be missed: mend the cause and resume it, or compensate it"


def pause(saga_id):
    assert park(saga_id, by="alice", reason="look at it") is True


def settle(saga_id, **chosen):
    return skip(saga_id, by="bob", reason="settled by telephone", **chosen)


def acts(saga_id):
    found = OperatorAction.objects.filter(target_id=str(saga_id), action="skip")
    return list(found.order_by("at").values_list("by", "reason", "outcome"))


@pytest.fixture
def parked(broker, fan_saga):
    """A saga that was parked before its first step."""
    saga_id = fan.begin()
    pause(saga_id)
    broker.take()
    return saga_id


def test_the_step_under_the_cursor_is_passed_over_and_the_saga_goes_on(broker, parked):
    assert settle(parked) is True

    saga = row(parked)
    assert (saga.cursor, saga.parked_at, saga.pending) == (1, None, 3)
    run = branch(parked, fan.TAKE)
    reply = {"skipped_by": "bob", "reason": "settled by telephone"}
    assert (run.state, run.reply) == ("skipped", reply)
    assert barrier("orders", parked, fan.TAKE) == ("skipped", reply)
    assert acts(parked) == [("bob", "settled by telephone", "done")]
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    broker.drain()
    assert row(parked).status == "compensated"
    assert {"take", "put_back"} & set(trial.effects()) == set()


def test_of_two_who_press_at_once_one_skips(broker, parked):
    answers = together(*[lambda: settle(parked)] * 4)

    assert sorted(answers) == [False] * 3 + [True]
    assert row(parked).cursor == 1
    assert sorted(outcome for _, _, outcome in acts(parked)) == ["done"] + ["refused"] * 3


def test_a_step_that_the_journal_has_as_done_is_refused_and_nothing_moves(parked):
    StepRun.objects.create(
        saga_id=parked,
        step_no=fan.TAKE,
        name="take",
        context="orders",
        direction="do",
        state="done",
        effect_key="take",
    )
    Barrier.objects.create(saga_id=parked, step_no=fan.TAKE, direction="do", state="done")

    assert settle(parked) is False

    saga = row(parked)
    assert (saga.cursor, saga.parked_at is None) == (fan.TAKE, False)
    assert barrier("orders", parked, fan.TAKE) == ("done", None)
    assert acts(parked) == [("bob", "settled by telephone", "refused")]


def test_a_reason_is_needed(parked):
    with pytest.raises(ReasonMissing):
        skip(parked, by="bob", reason=" ")


def test_refused_for_a_saga_that_is_not_parked_and_for_one_that_is_not_there(broker):
    saga_id = fan.begin()

    assert settle(saga_id) is False
    assert acts(saga_id) == [("bob", "settled by telephone", "refused")]
    assert settle(trial.uuid7()) is False


def test_refused_for_a_pivot_for_what_may_not_be_missed_for_another_step_and_an_unknown_saga(
    broker, monkeypatch
):
    saga_id = trial.begin()
    pause(saga_id)
    assert settle(saga_id, step="hold") is False
    assert settle(saga_id, step="take") is True
    pause(saga_id)
    assert settle(saga_id) is False, "its definition does not say that it may be missed"
    resume(saga_id, by="alice", reason="go")
    trial.SCRIPT["capture"] = raising(Unknown("no answer"))
    broker.drain()
    assert row(saga_id).cursor == 3
    pause(saga_id)
    assert settle(saga_id) is False, "a pivot decides"
    resume(saga_id, by="alice", reason="go")
    pause(saga_id)
    monkeypatch.setattr(registry, "SAGAS", {})
    assert settle(saga_id) is False


def test_on_the_way_back_it_says_that_a_person_has_undone_the_step(broker, group):
    run_branch(group, fan.PACK)
    trial.SCRIPT["unpack"] = raising(RuntimeError("down"))
    cancel(group, reason="no", by="alice")
    broker.drain()
    assert (row(group).status, row(group).cursor) == ("compensating", fan.PACK)
    pause(group)
    assert settle(group) is True

    broker.drain()
    assert row(group).status == "compensated"
    assert states(group, "undo")["pack"] == "skipped"
    assert barrier("orders", group, fan.PACK, "undo")[0] == "skipped"
    assert trial.effects() == ["take", "pack", "put_back"]


def test_on_the_way_back_the_door_is_closed_and_the_last_step_ends_the_saga(broker, parked):
    cancel(parked, reason="no", by="alice")
    trial.SCRIPT["put_back"] = raising(RuntimeError("down"))
    while row(parked).cursor:
        pause(parked)
        assert settle(parked) is True
        broker.take()
    pause(parked)

    assert settle(parked) is True
    saga = row(parked)
    assert (saga.status, saga.cursor, saga.due_at) == ("compensated", -1, None)
    assert barrier("orders", parked, fan.TAKE) == ("canceled", None)
    assert set(states(parked, "undo").values()) == {"skipped"}


def test_a_branch_that_a_person_has_undone_is_closed(broker, group):
    trial.SCRIPT["hold"] = raising(Unknown("no answer"))
    run_branch(group, fan.PACK)
    run_branch(group, fan.HOLD)
    cancel(group, reason="no", by="alice")
    while row(group).finished_at is None:
        pause(group)
        assert settle(group) is True

    assert row(group).status == "compensated"
    assert not StepRun.objects.filter(saga_id=group, due_at__isnull=False).exists()
    left = [branch(group, number).state for number in (fan.PACK, fan.HOLD, fan.SCORE)]
    assert left == ["done", "canceled", "canceled"]
    assert barrier("payments", group, fan.HOLD)[0] == "abandoned"
    assert_invariants()


def test_a_branch_is_named_where_more_than_one_is_left(broker, group):
    pause(group)
    assert settle(group) is False
    assert settle(group, step="pack") is False, "its definition does not let it be missed"
    assert settle(group, step="score") is True

    assert (row(group).pending, row(group).parked_at) == (2, None)
    assert (branch(group, fan.SCORE).state, branch(group, fan.SCORE).due_at) == ("skipped", None)
    assert [m.args[1] for m in broker.take()] == [fan.PACK, fan.HOLD]
    run_branch(group, fan.PACK)
    run_branch(group, fan.HOLD)
    assert row(group).state["kept"] == ["b1", "h1"]
    assert bring_to_its_end(broker, group) == "completed"
    assert "score" not in trial.effects()


def test_the_last_branch_that_is_skipped_moves_the_saga_on(broker, group):
    run_branch(group, fan.PACK)
    run_branch(group, fan.HOLD)

    def interrupted():
        together(lambda: pause(group))
        raise RuntimeError("before it took effect")

    trial.SCRIPT["score"] = interrupted
    assert run_branch(group, fan.SCORE) is LinkEnd.STOPPED, "parking has refused it"
    assert settle(group) is True
    assert (row(group).cursor, row(group).pending) == (fan.CAPTURE, 0)
    assert row(group).state["kept"] == ["b1", "h1"]
    assert bring_to_its_end(broker, group) == "completed"


def unable_to_keep(monkeypatch, name):
    def broken(state: fan.FanState, reply: fan.Packed) -> fan.FanState:
        raise ValueError("too large a box")

    changes(monkeypatch, name, broken)


def changes(monkeypatch, name, keep):
    def kept(state: fan.FanState, reply: fan.Packed) -> fan.FanState:
        return keep(state, reply)

    steps = tuple(
        fan.replace(step, keep=kept) if step.name == name else step for step in fan.FAN.steps
    )
    changed = fan.replace(fan.FAN, steps=steps)
    monkeypatch.setitem(registry.SAGAS, (fan.FAN.name, 1), changed)


def test_the_last_branch_is_not_skipped_where_a_reply_of_its_group_cannot_be_kept(
    broker, group, monkeypatch
):
    run_branch(group, fan.PACK)
    run_branch(group, fan.HOLD)
    pause(group)
    with monkeypatch.context() as broken:
        unable_to_keep(broken, "pack")
        told = said("skip", group, *shown(group), "--reason", "by hand", "--step", "score")

    why = "the reply of pack cannot be kept, ValueError: too large a box"
    instead = "mend the cause and resume it, or compensate it"
    assert told == (f"skip: refused, {why}: {instead}\n", 1)
    assert (row(group).pending, branch(group, fan.SCORE).state) == (1, "pending")
    assert settle(group) is True
    assert row(group).state["kept"] == ["b1", "h1"]


UNREADABLE = "the reply of pack cannot be kept, CannotDecode: Packed: unknown field 'crate'"
NO_STATE = "the saga's state cannot be read, CannotDecode: FanState.total: expected int, found 'x'"
UNFIT = (
    "the state that its replies make cannot be written, CannotEncode: FanState.total: expected int,"
    " found 'many', which could not be read back: give what is annotated"
)


def with_an_unreadable_reply(saga_id, monkeypatch):
    StepRun.objects.filter(saga_id=saga_id, step_no=fan.PACK).update(reply={"crate": "b1"})


def with_an_unreadable_state(saga_id, monkeypatch):
    state = {**row(saga_id).state, "total": "x"}
    SagaInstance.objects.filter(id=saga_id).update(state=state)


def with_an_unfit_result(saga_id, monkeypatch):
    changes(monkeypatch, "pack", lambda state, _: fan.replace(state, total="many"))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (with_an_unreadable_reply, UNREADABLE),
        (with_an_unreadable_state, NO_STATE),
        (with_an_unfit_result, UNFIT),
    ],
)
def test_a_skip_of_the_last_branch_is_refused_where_what_its_group_has_cannot_be_read(
    broker, group, monkeypatch, broken, why
):
    run_branch(group, fan.PACK)
    run_branch(group, fan.HOLD)
    pause(group)
    broken(group, monkeypatch)
    before = row(group)

    told = said("skip", group, *shown(group), "--reason", "by hand", "--step", "score")
    assert told == (f"skip: refused, {why}: mend the cause and resume it, or compensate it\n", 1)
    assert settle(group) is False
    after = row(group)
    assert (after.pending, after.parked_at, after.fencing_token, after.cursor) == (
        1,
        before.parked_at,
        before.fencing_token,
        before.cursor,
    )
    assert branch(group, fan.SCORE).state == "pending"
    assert not BillingBarrier.objects.filter(saga_id=group, step_no=fan.SCORE).exists()
    assert [outcome for *_, outcome in acts(group)] == ["refused"] * 2


def test_the_branch_whose_reply_cannot_be_kept_is_the_one_that_is_named(
    broker, group, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    unable_to_keep(monkeypatch, "pack")
    for number in (fan.PACK, fan.SCORE, fan.HOLD):
        run_branch(group, number)

    why = "CannotKeep: the reply of pack cannot be kept, ValueError: too large a box"
    assert row(group).parked_reason == f"pack: 1 attempts, the last: {why}"


def test_a_call_that_may_have_been_made_is_undone_although_its_step_was_skipped(
    broker, monkeypatch
):
    """Nobody knows whether it took effect, so a skip does not close the books on it."""
    steps = tuple(
        fan.replace(step, keep=None, skippable=True) if step.name == "hold" else step
        for step in trial.TRIAL.steps
    )
    missable = fan.replace(trial.TRIAL, steps=steps)
    monkeypatch.setitem(registry.SAGAS, (missable.name, 1), missable)
    trial.SCRIPT["hold"] = raising(Unknown("no answer"))
    saga_id = trial.begin()
    broker.drain()
    pause(saga_id)
    assert settle(saga_id) is True
    assert StepRun.objects.get(saga_id=saga_id, name="hold").state == "skipped"
    assert barrier("payments", saga_id, 2)[0] == "abandoned"

    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    broker.drain()
    assert row(saga_id).status == "compensated"
    assert trial.CALLS == ["hold", "capture", "close_capture", "release"]
    assert_invariants()


def test_skip_from_a_terminal(broker, group):
    pause(group)
    chosen = ("skip", group, *shown(group), "--reason", "by hand", "--by", "bob")

    several = "several steps side by side are left: choose one (a terminal takes --step)"
    assert said(*chosen) == (f"skip: refused, {several}\n", 1)
    assert said(*chosen, "--step", "pack") == (f"skip: refused, pack {NOT_MISSED}\n", 1)
    assert said(*chosen, "--step", "score") == ("skip: done\n", 0)
    assert [who for who, *_ in acts(group)] == ["bob"] * 3


def test_a_terminal_that_names_another_step_skips_nothing(parked):
    told = said("skip", parked, *shown(parked), "--reason", "by hand", "--step", "capture")
    assert told == (f"skip: refused, capture {NOT_MISSED}\n", 1)
    assert row(parked).cursor == fan.TAKE


def test_a_terminal_that_is_too_late_to_hear_why_says_that_somebody_was_faster(parked, monkeypatch):
    monkeypatch.setitem(ACTS, "skip", lambda *_, **__: False)

    assert said("skip", parked, *shown(parked), "--reason", "by hand") == (
        "skip: refused, somebody was faster, or it does not stand at that step\n",
        1,
    )
