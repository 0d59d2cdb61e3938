"""Branches at once, with real connections: one joins, and nobody waits for ever."""

import random
from collections import Counter

import pytest

from sagas.api import Cancellation, Rejected, cancel, park, skip
from sagas.core.keys import Direction
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import audited, branch_rows
from sagas.orchestration.branches import run_branch
from sagas.orchestration.carried import LinkEnd
from sagas.orchestration.executor import run_link
from sagas.orchestration.sweep import sweep
from tests.concurrency.sagas.races import Gate, until_somebody_waits_for_a_lock
from tests.concurrency.sagas.test_races import effects_of
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.watching import branch, make_branches_due
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("fan_saga")

PAIRS = {"take": "put_back", "pack": "unpack", "hold": "release", "score": "unscore"}
FIRST = (fan.PACK, fan.HOLD, fan.SCORE)


def in_its_group(broker):
    saga_id = fan.begin()
    broker.take()
    run_link(saga_id, 0, 0, Direction.DO)
    broker.take()
    return saga_id


def bring_to_an_end(broker, *saga_ids):
    for _ in range(25):
        broker.drain(most=40)
        unfinished = SagaInstance.objects.filter(id__in=saga_ids, finished_at=None)
        if not unfinished.exists():
            return
        for saga_id in unfinished.values_list("id", flat=True):
            make_due(saga_id)
            make_branches_due(saga_id)
        sweep()
    raise AssertionError("it does not end")


def check_books(saga_id):
    """What must hold of every fan that has ended, whoever won."""
    saga, found = row(saga_id), Counter(effects_of(saga_id))
    assert set(found.values()) <= {1}, f"an effect took place twice: {found}"
    assert saga.pending == 0
    assert not StepRun.objects.filter(saga_id=saga_id, due_at__isnull=False).exists()
    if saga.status == "completed":
        assert set(found) == {*PAIRS, "capture", "book", "tell"}
        assert saga.state["kept"] == ["b1", "h1"]
    else:
        assert saga.status == "compensated"
        assert not {"capture", "book", "tell"} & set(found)
        for done, undone in PAIRS.items():
            # A call may have been made of which no effect is recorded.
            assert done not in found or undone in found
            assert undone not in found or done in found or done == "hold"


def test_of_eight_workers_that_claim_a_branch_at_once_one_has_it(broker, group):
    claims = together(*[lambda: branch_rows.claim(group, fan.PACK)] * 8)

    assert raised(claims) == []
    assert len([claim for claim in claims if claim is not None]) == 1


def test_a_branch_that_waits_while_its_saga_is_being_parked_does_not_begin(group, monkeypatch):
    gate = Gate()

    def failpoint(name, at=""):
        if name == "act.before_commit":
            gate.wait_here()

    def claims():
        gate.when_reached()
        return run_branch(group, fan.PACK)

    def opens():
        gate.when_reached()
        until_somebody_waits_for_a_lock()
        gate.open()

    monkeypatch.setattr(audited, "failpoint", failpoint)
    parked, end, _ = together(lambda: park(group, by="bob", reason="stop"), claims, opens)

    assert (parked, end) == (True, LinkEnd.STOPPED)
    run = branch(group, fan.PACK)
    assert (run.state, run.attempts, run.leased_until) == ("pending", 0, None)
    assert trial.effects() == ["take"]


@pytest.mark.parametrize("round_", range(8))
def test_branches_that_end_at_once_are_counted_and_one_of_them_joins(broker, round_):
    saga_id = in_its_group(broker)

    ends = together(*[lambda number=number: run_branch(saga_id, number) for number in FIRST * 2])
    assert raised(ends) == []
    assert Counter(ends) == {LinkEnd.PASSED: 3, LinkEnd.STOPPED: 3}
    assert (row(saga_id).cursor, row(saga_id).pending) == (fan.CAPTURE, 0)
    assert [m.task for m in broker.sent] == ["sagas.run_link"], "the rest is sent once"
    bring_to_an_end(broker, saga_id)
    check_books(saga_id)


@pytest.mark.parametrize("round_", range(8))
def test_branches_a_cancel_a_no_and_a_skip_at_once_leave_one_truth(broker, round_):
    chance = random.Random(round_)
    saga_id = in_its_group(broker)
    if round_ % 2:
        trial.SCRIPT["hold"] = declined
    acts = [lambda number=number: run_branch(saga_id, number) for number in FIRST]
    acts.append(lambda: cancel(saga_id, reason="no", by="alice"))
    acts.append(lambda: skip(saga_id, by="bob", reason="by hand", step="score"))
    chance.shuffle(acts)

    ends = together(*acts)
    assert raised(ends) == []
    asked = Cancellation.ACCEPTED in ends
    assert asked or Cancellation.FINISHED in ends
    bring_to_an_end(broker, saga_id)
    check_books(saga_id)
    assert row(saga_id).status == "compensated"


def declined():
    raise Rejected("declined")


def test_many_sagas_with_groups_many_workers_cancels_and_false_hints_end_in_books_that_balance(
    broker,
):
    chance = random.Random(3)
    trial.SCRIPT["hold"] = lambda: None if chance.random() < 0.8 else declined()
    trial.SCRIPT["capture"] = lambda: None if chance.random() < 0.9 else declined()
    ids = [fan.begin() for _ in range(12)]
    broker.take()

    def worker(seed):
        own = random.Random(seed)
        for _ in range(45):
            saga_id, act = own.choice(ids), own.random()
            if act < 0.03:
                cancel(saga_id, reason="no", by="alice")
            elif act < 0.1:
                run_link(saga_id, 0, 6, Direction.UNDO, swept=True)
            elif act < 0.3:
                run_link(saga_id, 0, 6, Direction.DO, swept=True)
            else:
                run_branch(saga_id, own.choice((*FIRST, fan.BOOK, fan.TELL)))

    assert raised(together(*[lambda seed=seed: worker(seed) for seed in range(4)])) == []
    bring_to_an_end(broker, *ids)
    for saga_id in ids:
        check_books(saga_id)
    assert {row(saga_id).status for saga_id in ids} == {"completed", "compensated"}
