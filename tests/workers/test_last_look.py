"""kill -9 between the work of a message and the look for who relied on it."""

from contextlib import contextmanager

import pytest

from sagas.models import SagaInstance
from sagas.orchestration import wakes
from tests.integration.sagas import trial, trio
from tests.processes import eventually
from tests.workers.shop import assert_invariants
from tests.workers.test_kills import Killer
from tests.workers.test_waits import SETTINGS

GRACE, INTERVAL = 3.0, 0.5
BUSY = 6.0
"""Seconds in which a busy machine carries five small sagas one after the other."""


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


@contextmanager
def frozen(processes, running):
    processes.freeze(running)
    yield
    processes.thaw(running)


@pytest.mark.timeout(120)
def test_whoever_relied_on_a_worker_that_died_before_its_last_look_is_the_sweepers(
    processes, killer, settings, monkeypatch
):
    """After the hint's grace and the next sweep, and nothing is done twice."""
    monkeypatch.setattr(wakes, "LIFE_MS", 60_000)  # however slow the machine is
    settings.SAGAS = {**settings.SAGAS, "HINT_GRACE": GRACE}
    timing = {"SAGAS_HINT_GRACE": str(GRACE), "SAGAS_SWEEP_INTERVAL": str(INTERVAL)}
    trio.register()
    trial.table_of_effects()
    processes.beat(env={**SETTINGS, **timing})
    # Of one saga, so that nobody is rung for before the message's work is done.
    one_each = {**SETTINGS, **timing, **killer.env, "SAGAS_CLAIM_BATCH": "1"}
    worker = processes.worker(env=one_each)
    killer.arm(["batch.ended"])
    with frozen(processes, worker):
        own, *relied = [trio.begin() for _ in range(6)]

    eventually(lambda: not SagaInstance.objects.filter(finished_at=None).exists(), 60, "they end")
    assert killer.hit("batch.ended")
    for saga_id in (own, *relied):
        assert trial.effects(saga_id) == ["take", "lift", "send"]
    took = [seconds(saga_id) for saga_id in relied]
    assert seconds(own) < GRACE <= min(took), "nobody but the sweeper came"
    assert max(took) < GRACE + INTERVAL + BUSY
    assert_invariants()


def seconds(saga_id):
    saga = SagaInstance.objects.get(id=saga_id)
    return (saga.finished_at - saga.started_at).total_seconds()
