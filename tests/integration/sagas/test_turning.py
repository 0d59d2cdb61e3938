"""The commit of a no, and how much of the way back is done with it."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from sagas import api, failpoints
from sagas.api import Rejected, Saga, begun, cancel, compensatable, pivot, retriable
from sagas.core.keys import Direction
from sagas.models import StepFault, StepRun
from sagas.orchestration import carried, donekeys, registry, store, wakes
from sagas.orchestration.carried import Carried, LinkEnd
from sagas.orchestration.sweep import sweep
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import make_due, row

OPEN = begun("open", undo=trial.build_close)
TAKE = compensatable("take", do=trial.build_take, undo=trial.build_put_back)
HOLD = compensatable("hold", do=trial.build_hold, undo=trial.build_release)
BOOK = pivot("book", do=trial.build_book)
THEN = retriable("then", do=trial.build_take)

one_message_for_many = wakes.is_first

pytestmark = pytest.mark.colocated  # a detached context's steps are all visited


def define(*steps):
    return registry.add(
        Saga(
            name="orders.turning",
            version=1,
            state=trial.TrialState,
            deadline=timedelta(minutes=5),
            steps=steps,
        )
    )


def begin(*steps):
    return start(define(*steps))


def start(saga):
    saga_id = api.uuid7()
    with api.transaction("orders"):
        state = trial.TrialState(subject=saga_id)
        return api.start(saga, state, key=str(saga_id), saga_id=saga_id)


@pytest.fixture(autouse=True)
def no_other_saga(monkeypatch):
    monkeypatch.setattr(registry, "SAGAS", {})


@pytest.fixture
def refused():
    def no():
        raise Rejected("sold_out")

    trial.SCRIPT.update(book=no, hold=no)


def journal(saga_id):
    rows = StepRun.objects.filter(saga_id=saga_id).order_by("id")
    return [f"{run.direction} {run.name} {run.state}" for run in rows]


def barriers(saga_id):
    found = []
    for context in ("orders", "billing", "payments"):
        with api.connection_of(context).cursor() as cursor:
            cursor.execute(
                f"SELECT step_no, direction, state FROM {context}_barrier WHERE saga_id = %s",
                [saga_id],
            )
            found += cursor.fetchall()
    return sorted(found)


def run_to_the_no(saga_id, broker):
    """Carry the saga out up to the commit of the no, whose worker dies then."""
    with dying_at("reject.committed"):
        [message] = broker.take()
        broker.run_chain(message)
    broker.take()
    return row(saga_id)


class Died(BaseException):
    """Ends the work there and then, as a death of the process would."""


@contextmanager
def dying_at(place):
    def die(name, detail):
        if name == place:
            raise Died

    with pytest.raises(Died), failpoints.listening(die):
        yield


def test_the_commit_of_a_no_passes_the_last_step_when_it_is_a_local_one(broker, refused):
    saga_id = begin(OPEN, TAKE, BOOK)
    saga = run_to_the_no(saga_id, broker)

    assert (saga.status, saga.cursor, saga.failed_step) == ("compensating", 1, "book")
    assert journal(saga_id)[-2:] == ["do book rejected", "undo book nothing"]
    assert barriers(saga_id)[-2:] == [(2, "do", "rejected"), (2, "undo", "nothing")]
    assert StepFault.objects.get(saga_id=saga_id).kind == "rejected"


def test_a_worker_that_dies_after_the_no_leaves_the_rest_of_the_way_back_to_another(
    broker, refused
):
    saga_id = begin(OPEN, TAKE, BOOK)
    run_to_the_no(saga_id, broker)

    make_due(saga_id)
    sweep()
    broker.drain()
    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take", "put_back", "close"]
    assert journal(saga_id).count("undo book nothing") == 1


def test_a_worker_that_dies_before_the_commit_of_the_no_has_passed_nothing(broker, refused):
    saga_id = begin(OPEN, TAKE, BOOK)
    [message] = broker.take()
    with dying_at("reject.before_commit"):
        broker.run_chain(message)

    assert (row(saga_id).status, row(saga_id).cursor) == ("running", 2)
    assert not StepFault.objects.filter(saga_id=saga_id).exists()
    assert barriers(saga_id) == [(0, "do", "done"), (1, "do", "done")]

    make_due(saga_id)
    sweep()
    broker.drain()
    assert trial.effects() == ["take", "put_back", "close"]


def test_the_message_of_a_no_three_times_turns_round_once(broker, refused):
    saga_id = begin(OPEN, TAKE, BOOK)
    [message] = broker.take()
    for _copy in range(3):
        broker.run_chain(message)
        broker.drain()

    assert row(saga_id).status == "compensated"
    assert StepFault.objects.filter(saga_id=saga_id).count() == 1
    assert trial.effects() == ["take", "put_back", "close"]


def test_a_no_that_comes_after_a_cancel_passes_nothing(broker, refused):
    saga_id = begin(OPEN, TAKE, BOOK)
    claimed = store.claim(saga_id, status="running", low=1, high=2)
    cancel(saga_id, reason="no", by="alice")
    late = Carried(replace(claimed, cursor=2), 1, 2, Direction.DO)

    assert late.carry_on() is LinkEnd.STOPPED
    assert (row(saga_id).cursor, row(saga_id).failure) == (2, "no")
    assert not StepFault.objects.filter(saga_id=saga_id).exists()
    assert barriers(saga_id) == [(0, "do", "done")]


def test_a_remote_step_that_was_refused_last_is_visited(broker, refused):
    saga_id = begin(OPEN, TAKE, HOLD)
    assert run_to_the_no(saga_id, broker).cursor == 2

    make_due(saga_id)
    sweep()
    broker.drain()
    assert trial.effects() == ["take", "refused_hold", "release", "put_back", "close"]


def test_a_step_refused_before_the_last_one_is_visited(broker, refused):
    saga_id = begin(OPEN, TAKE, BOOK, THEN)

    assert run_to_the_no(saga_id, broker).cursor == 3


def test_a_saga_whose_only_step_is_refused_ends_in_a_commit_of_its_own(broker, refused):
    saga_id = begin(BOOK)
    assert run_to_the_no(saga_id, broker).cursor == 0

    make_due(saga_id)
    sweep()
    broker.drain()
    assert (row(saga_id).status, journal(saga_id)[-1]) == ("compensated", "undo book nothing")


def test_a_no_on_queues_of_their_own_goes_back_in_the_queue_of_the_step_below(
    broker, refused, settings
):
    settings.STEP_QUEUES = "per-context"
    saga_id = begin(OPEN, TAKE, BOOK)
    broker.drain()

    assert row(saga_id).status == "compensated"
    assert trial.effects() == ["take", "put_back", "close"]


def test_sagas_refused_when_their_slice_is_spent_are_rung_for_where_they_stand(
    broker, refused, monkeypatch, settings
):
    settings.STEP_QUEUES = "shared"
    monkeypatch.setattr(wakes, "is_first", one_message_for_many)
    monkeypatch.setattr(carried, "is_spent", lambda _: True)
    donekeys.client().flushdb()
    saga = define(OPEN, TAKE, BOOK)
    sagas = [start(saga) for _ in range(3)]
    broker.drain()

    assert [row(saga_id).status for saga_id in sagas] == ["compensated"] * 3, "without a sweep"
