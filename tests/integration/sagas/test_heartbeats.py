"""A long call renews its lease, tells how far it is, and hears that it is not wanted any more."""

from datetime import timedelta

import pytest
from django.db import connection

from sagas import clock
from sagas.api import StaleFencingToken, cancel, heartbeat, last_heartbeat, transaction
from sagas.core.errors import SagasError
from sagas.failpoints import listening
from sagas.models import StepRun
from sagas.orchestration.progress import LONGEST_DETAIL, UnfitDetail
from sagas.orchestration.run import NotInAStep
from sagas.orchestration.sweep import sweep
from sagas.simulation.stage import Killed
from sagas.sometimes import met
from sagas.standing import sentence
from sagas.transactions import InsideTransaction
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import make_due, row

HOLD = 2


def at_the_call(broker, call):
    """Run a trial saga whose hold is this call; its id is the argument."""
    saga_id = trial.begin()
    trial.SCRIPT["hold"] = lambda: call(saga_id)
    broker.drain()
    return saga_id


def ends_soon(saga_id):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET leased_until = clock_timestamp() + interval '10 ms',"
            " due_at = clock_timestamp() + interval '10 ms' WHERE id = %s",
            [saga_id],
        )


def test_a_beat_renews_the_lease_and_is_told_to_operators(broker, settings):
    def call(saga_id):
        ends_soon(saga_id)
        heartbeat({"page": 3})
        saga = row(saga_id)
        lease = timedelta(seconds=settings.SAGAS["LEASE"])
        assert saga.leased_until == saga.due_at or saga.due_at > saga.leased_until
        assert saga.leased_until > clock.real() + 0.8 * lease
        runs = list(StepRun.objects.filter(saga_id=saga_id))
        assert 'Its last heartbeat said {"page": 3}.' in sentence(saga, (), clock.real(), runs)

    saga_id = at_the_call(broker, call)

    assert row(saga_id).status == "completed"
    assert StepRun.objects.get(saga_id=saga_id, name="hold").detail == {"page": 3}


def test_an_attempt_after_a_missed_beat_goes_on_from_the_last_detail(broker):
    seen = []

    def call(saga_id):
        seen.append(last_heartbeat())
        if len(seen) == 1:
            heartbeat({"page": 3})

    def die(place, detail):
        if place == "heartbeat.committed":
            raise Killed

    with listening(die), pytest.raises(Killed):
        at_the_call(broker, call)
    [saga_id] = StepRun.objects.filter(name="hold").values_list("saga_id", flat=True)
    make_due(saga_id)
    sweep()
    broker.drain()

    assert seen == [None, {"page": 3}]
    assert (row(saga_id).status, trial.effects(saga_id).count("hold")) == ("completed", 1)


def test_a_cancel_is_delivered_by_the_next_beat(broker):
    beaten = []
    before = met()["heartbeat.refused"]

    def call(saga_id):
        heartbeat(1)
        cancel(saga_id, reason="canceled", by="customer")
        try:
            heartbeat(2)
        except StaleFencingToken:
            beaten.append("refused")
            raise

    saga_id = at_the_call(broker, call)

    assert beaten == ["refused"]
    assert met()["heartbeat.refused"] == before + 1
    assert row(saga_id).status == "compensated"
    assert "hold" not in trial.effects(saga_id)
    assert StepRun.objects.get(saga_id=saga_id, name="hold", direction="do").detail == 1


def test_a_worker_that_thaws_takes_no_lease_from_the_next(broker):
    refused = []

    def thaw(saga_id):
        trial.SCRIPT["hold"] = lambda: heartbeat("next")
        make_due(saga_id)
        sweep()
        broker.drain()
        before = row(saga_id)
        try:
            heartbeat("late")
        except StaleFencingToken:
            refused.append((row(saga_id).due_at, before.due_at))
            raise

    saga_id = at_the_call(broker, thaw)

    [(after, before)] = refused
    assert after == before
    assert row(saga_id).status == "completed"
    assert StepRun.objects.get(saga_id=saga_id, name="hold").detail == "next"


def test_a_late_beat_that_nobody_has_overtaken_takes_the_saga_back(broker):
    def call(saga_id):
        make_due(saga_id)
        sweep()  # the lease is over and a message is out, but nobody has claimed
        heartbeat("alive")
        assert broker.drain() == ["ignored"]

    saga_id = at_the_call(broker, call)

    assert (row(saga_id).status, trial.CALLS.count("hold")) == ("completed", 1)


def test_a_branch_beats_for_itself(broker, fan_saga):
    beaten = []

    def call():
        heartbeat({"parcel": 1})
        cancel(saga_id, reason="canceled", by="customer")
        with pytest.raises(StaleFencingToken):
            heartbeat({"parcel": 2})
        beaten.append(last_heartbeat())

    saga_id = fan.begin()
    trial.SCRIPT["hold"] = call
    broker.drain()

    assert beaten == [{"parcel": 1}]
    assert row(saga_id).status == "compensated"


def test_no_beat_inside_a_transaction_nor_outside_a_step(broker):
    with pytest.raises(NotInAStep):
        heartbeat()

    def call(_):
        with transaction("payments"), pytest.raises(InsideTransaction):
            heartbeat()

    assert row(at_the_call(broker, call)).status == "completed"


@pytest.mark.parametrize("detail", ["x" * LONGEST_DETAIL, {1, 2}, float("nan"), "\x00", "\ud800"])
def test_a_detail_that_could_not_be_kept_is_refused(broker, detail):
    refused = []

    def call(_):
        try:
            heartbeat(detail)
        except SagasError as unfit:
            refused.append(type(unfit))

    at_the_call(broker, call)

    assert refused == [UnfitDetail]


@pytest.mark.parametrize("detail", [r"C:\u0000", "\u20ac" * 1300, {"\u20ac": None}])
def test_a_detail_that_only_looks_unfit_is_kept(broker, detail):
    saga_id = at_the_call(broker, lambda _: heartbeat(detail))

    assert StepRun.objects.get(saga_id=saga_id, name="hold").detail == detail


def test_a_beat_without_a_detail_leaves_the_last_one(broker):
    def call(_):
        heartbeat({"page": 3})
        heartbeat()
        assert last_heartbeat() == {"page": 3}

    assert row(at_the_call(broker, call)).status == "completed"


def test_a_beat_of_a_branch_without_a_detail_leaves_the_last_one(broker, fan_saga):
    def call():
        heartbeat({"parcel": 1})
        heartbeat()

    trial.SCRIPT["hold"] = call
    saga_id = fan.begin()
    broker.drain()

    assert row(saga_id).status == "completed"
    assert StepRun.objects.get(saga_id=saga_id, name="hold", direction="do").detail == {"parcel": 1}
