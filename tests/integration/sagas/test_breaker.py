"""A system that does not answer is left alone, and nobody's attempts are used up meanwhile."""

from collections import Counter

import pytest
import redis

from sagas import clock, failpoints
from sagas.api import Breaker, Postponed, Rejected, SagasError, Unknown
from sagas.breaker import BREAKERS, circuits
from sagas.models import SagaInstance, StepFault
from sagas.models.step_run import StepRun
from sagas.orchestration import donekeys
from sagas.orchestration.branches import run_branch
from sagas.orchestration.sweep import sweep
from sagas.sometimes import met
from tests.integration.sagas import fan, trial
from tests.integration.sagas.conftest import make_due, row
from tests.integration.sagas.test_link_ends import raising
from tests.integration.sagas.watching import branch
from tests.together import together

NAME = "payments.trial"


@pytest.fixture
def breaker(settings):
    settings.SAGAS = {**settings.SAGAS, "BREAKER_FAILURES": 3, "BREAKER_PAUSE": 30}
    made = Breaker(NAME)
    made.forget()
    yield made
    made.forget()
    del BREAKERS[NAME]


def asked(breaker, error=None):
    """Make a call; what it came to."""
    try:
        with breaker.call():
            if error is not None:
                raise error
    except SagasError as raised:
        return type(raised).__name__
    return "answered"


def fail(breaker, times=3):
    return [asked(breaker, Unknown("no answer")) for _ in range(times)]


def let_the_pause_pass():
    donekeys.client().delete(f"sagas:breaker:{NAME}:until")


def is_open(breaker):
    return breaker.circuit().opened_at is not None


# -- the circuit -----------------------------------------------------------------------------------


def test_after_so_many_calls_without_an_answer_nobody_calls(breaker):
    assert fail(breaker, 2) == ["Unknown"] * 2
    assert not is_open(breaker)
    assert fail(breaker, 3) == ["Unknown", "Postponed", "Postponed"]
    assert is_open(breaker)


def test_an_answer_in_between_begins_the_count_anew(breaker):
    fail(breaker, 2)
    assert asked(breaker) == "answered"
    fail(breaker, 2)
    assert not is_open(breaker)


def test_a_no_is_an_answer(breaker):
    for _ in range(5):
        assert asked(breaker, Rejected("declined")) == "Rejected"
    assert not is_open(breaker)


def test_a_no_to_the_probe_closes_the_circuit(breaker):
    fail(breaker)
    let_the_pause_pass()

    assert asked(breaker, Rejected("declined")) == "Rejected"
    assert not is_open(breaker)


def test_a_no_in_between_begins_the_count_anew(breaker):
    fail(breaker, 2)
    assert asked(breaker, Rejected("declined")) == "Rejected"
    fail(breaker, 2)
    assert not is_open(breaker)


def test_the_circuit_is_one_for_all_processes(breaker):
    fail(breaker)
    elsewhere = Breaker(NAME)

    assert asked(elsewhere) == "Postponed"


def test_after_the_pause_one_call_tries_and_its_answer_closes(breaker):
    fail(breaker)
    let_the_pause_pass()

    with breaker.call():
        assert asked(breaker) == "Postponed", "a second probe beside it"
    assert not is_open(breaker)
    assert asked(breaker) == "answered"


def test_each_turn_of_a_circuit_is_counted_once(breaker):
    before = Counter(met())
    fail(breaker)
    assert asked(breaker) == "Postponed"
    let_the_pause_pass()
    assert asked(breaker) == "answered"

    turns = {"breaker.opened": 1, "breaker.refused": 1, "breaker.probed": 1, "breaker.closed": 1}
    assert dict(Counter(met()) - before) == turns


def test_of_many_at_once_one_makes_the_probe(breaker):
    fail(breaker)
    let_the_pause_pass()
    found = together(*[lambda: asked(breaker, Unknown("no answer"))] * 8)
    assert found == ["Postponed"] * 8
    let_the_pause_pass()
    assert asked(breaker) == "answered"


def test_a_probe_without_an_answer_begins_the_pause_anew(breaker):
    fail(breaker)
    let_the_pause_pass()

    assert asked(breaker, Unknown("still away")) == "Postponed"
    assert asked(breaker) == "Postponed"
    assert is_open(breaker)


def test_a_process_that_dies_in_its_probe_is_followed_by_another(breaker, monkeypatch):
    fail(breaker)
    let_the_pause_pass()
    monkeypatch.setenv("CONCORD_FAILPOINTS", "breaker.probing=raise")
    with pytest.raises(failpoints.FailpointHit), breaker.call():
        pass
    monkeypatch.delenv("CONCORD_FAILPOINTS")

    assert asked(breaker) == "Postponed", "its probe is thought to be under way"
    assert 0 < donekeys.client().pttl(f"sagas:breaker:{NAME}:probe") <= 20_000
    donekeys.client().delete(f"sagas:breaker:{NAME}:probe")
    assert asked(breaker) == "answered"


def test_two_probes_at_once_do_no_harm(breaker):
    fail(breaker)
    let_the_pause_pass()
    with breaker.call():
        donekeys.client().delete(f"sagas:breaker:{NAME}:probe")
        assert asked(breaker, Unknown("no answer")) == "Postponed"
    assert asked(breaker) == "answered", "the answer of either is enough"


def test_an_empty_redis_is_a_closed_circuit(breaker):
    fail(breaker)
    donekeys.client().flushdb()

    assert asked(breaker) == "answered"
    assert circuits()[-1].opened_at is None


class Away:
    def __getattr__(self, name):
        raise redis.ConnectionError("away")


def test_without_redis_every_call_is_made_and_it_is_not_asked_each_time(breaker, monkeypatch):
    fail(breaker)
    with monkeypatch.context() as patch:
        patch.setattr("sagas.breaker.client", Away)
        assert asked(breaker) == "answered"
        patch.setattr("sagas.breaker.client", lambda: pytest.fail("it was asked"))
        assert fail(breaker, 4) == ["Unknown"] * 4
        assert not is_open(breaker)

    breaker._silence.until = 0.0
    assert asked(breaker) == "Postponed", "it remembers, where Redis does"


@pytest.mark.parametrize("rubbish", [b"x", b"-1", b"9" * 30, b""])
def test_rubbish_in_redis_is_no_time(breaker, rubbish):
    donekeys.client().set(f"sagas:breaker:{NAME}:open", rubbish)

    assert breaker.circuit().opened_at is None
    assert asked(breaker) == "answered", "the probe"


def test_a_breaker_that_is_turned_off_counts_nothing(breaker, settings):
    settings.SAGAS = {**settings.SAGAS, "BREAKER_FAILURES": 0}

    assert fail(breaker, 10) == ["Unknown"] * 10
    assert not is_open(breaker)


def test_those_that_wait_do_not_come_back_at_once(breaker):
    fail(breaker)
    waits = set()
    for _ in range(5):
        with pytest.raises(Postponed) as postponed, breaker.call():
            pass
        waits.add(postponed.value.wait)

    assert len(waits) == 5
    assert all(25 < wait <= 60 for wait in waits)


# -- sagas -----------------------------------------------------------------------------------------


def calling(breaker, error=None):
    def call():
        with breaker.call():
            if error is not None:
                raise error
            return f"h-{len(trial.CALLS)}"

    return call


def come_again(saga_id, broker, times):
    for _ in range(times):
        make_due(saga_id)
        sweep()
        broker.drain()


def test_a_saga_waits_without_using_up_attempts(broker, breaker, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    fail(breaker)
    trial.SCRIPT["hold"] = calling(breaker)
    saga_id = trial.begin()
    broker.drain()
    come_again(saga_id, broker, 5)

    saga = row(saga_id)
    assert (saga.attempts, saga.parked_at, saga.leased_until) == (0, None, None)
    assert saga.due_at == saga.not_before
    faults = StepFault.objects.filter(saga_id=saga_id)
    assert {(fault.kind, fault.attempt, fault.name) for fault in faults} == {
        ("postponed", 0, "hold")
    }
    assert all(fault.next_at is not None for fault in faults)
    assert {fault.traceback for fault in faults} == {""}, "there may be thousands of them"

    let_the_pause_pass()
    come_again(saga_id, broker, 1)
    assert row(saga_id).status == "completed"


def test_a_probe_that_is_not_answered_costs_no_attempt_and_an_answer_that_is_missing_does(
    broker, breaker, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 9}
    trial.SCRIPT["hold"] = calling(breaker, Unknown("no answer"))
    saga_id = trial.begin()
    broker.drain()
    come_again(saga_id, broker, 2)
    assert (row(saga_id).attempts, is_open(breaker)) == (3, True)

    for _ in range(3):
        let_the_pause_pass()
        come_again(saga_id, broker, 1)
    assert row(saga_id).attempts == 3
    faults = StepFault.objects.filter(saga_id=saga_id).order_by("id")
    found = list(faults.values_list("kind", "times"))
    assert found == [("unknown", 1)] * 3 + [("postponed", 3)]


def test_work_that_kills_its_process_in_the_probe_is_counted(broker, breaker, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}

    class Killed(BaseException):
        pass

    def killed():
        raise Killed

    trial.SCRIPT["hold"] = killed
    saga_id = trial.begin()
    for _ in range(2):
        with pytest.raises(Killed):
            come_again(saga_id, broker, 1)
    come_again(saga_id, broker, 1)
    assert "ended without a trace" in row(saga_id).parked_reason


def test_a_circuit_that_opens_in_the_middle_of_a_compensation_parks_nothing(
    broker, breaker, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    trial.SCRIPT["capture"] = raising(Rejected("expired"))
    trial.SCRIPT["release"] = calling(breaker)
    saga_id = trial.begin()
    fail(breaker)
    broker.drain()
    assert row(saga_id).status == "compensating"
    come_again(saga_id, broker, 5)
    assert (row(saga_id).status, row(saga_id).parked_at) == ("compensating", None)

    let_the_pause_pass()
    come_again(saga_id, broker, 1)
    assert row(saga_id).status == "compensated"
    assert trial.effects(saga_id).count("release") == 1


def test_what_is_put_off_past_its_deadline_turns_round_at_the_deadline(broker):
    postponed = Postponed("tomorrow")
    postponed.wait = 86_400.0
    trial.SCRIPT["hold"] = raising(postponed)
    saga_id = trial.begin()
    broker.drain()
    saga = row(saga_id)
    assert saga.not_before > saga.deadline_at
    assert abs(saga.due_at - saga.deadline_at).total_seconds() < 10

    SagaInstance.objects.filter(id=saga_id).update(deadline_at=clock.now(), due_at=clock.real())
    sweep()
    broker.drain()
    assert (row(saga_id).status, row(saga_id).failure) == ("compensated", "deadline")


def test_a_branch_waits_without_using_up_attempts(broker, breaker, fan_saga, group, settings):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    fail(breaker)
    trial.SCRIPT["hold"] = calling(breaker)
    for _ in range(5):
        StepRun.objects.filter(saga_id=group, due_at__isnull=False).update(not_before=None)
        run_branch(group, fan.HOLD)

    assert (branch(group, fan.HOLD).attempts, row(group).parked_at) == (0, None)
    faults = StepFault.objects.filter(saga_id=group, name="hold")
    assert list(faults.values_list("kind", "times")) == [("postponed", 5)]


def test_a_late_postponement_does_not_touch_the_saga_of_another_worker(broker, breaker):
    fail(breaker)
    saga_id = trial.begin()

    def taken():
        make_due(saga_id)
        sweep()
        trial.SCRIPT["hold"] = calling(Breaker("payments.other"))
        broker.drain()
        del BREAKERS["payments.other"]
        return calling(breaker)()

    trial.SCRIPT["hold"] = taken
    broker.drain()
    assert row(saga_id).status == "completed"
    assert not StepFault.objects.filter(saga_id=saga_id).exists()
