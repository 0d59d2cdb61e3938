"""kill -9 between the work of a message and the look for who relied on it."""

from contextlib import contextmanager

import pytest
from django.db import connection

from sagas.models import SagaInstance
from sagas.orchestration import wakes
from tests.integration.sagas import trial, trio
from tests.processes import eventually
from tests.workers.shop import assert_invariants
from tests.workers.test_kills import Killer
from tests.workers.test_waits import SETTINGS

GRACE, INTERVAL = 3.0, 0.5
BUSY = 5.0
"""Seconds that a busy machine may need besides."""


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


@contextmanager
def held_for_nothing(ids):
    """Hold the rows of sagas, as a transaction that signals them and rolls back."""
    connection.ensure_connection()
    with connection.connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sagas_saga WHERE id = ANY(%s) FOR UPDATE", [ids])
        yield


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
    worker = processes.worker(env={**SETTINGS, **timing, **killer.env})
    killer.arm(["batch.ended"])
    processes.freeze(worker)  # so that the first message stands for all of them
    own, *relied = [trio.begin() for _ in range(6)]
    with held_for_nothing(relied):
        processes.thaw(worker)
        eventually(lambda: killer.hit("batch.ended"), 20, "the worker dies")

    eventually(lambda: not SagaInstance.objects.filter(finished_at=None).exists(), 60, "they end")
    for saga_id in (own, *relied):
        assert trial.effects(saga_id) == ["take", "lift", "send"]
    took = [seconds(saga_id) for saga_id in relied]
    assert seconds(own) < GRACE <= min(took), "nobody but the sweeper came"
    assert max(took) < GRACE + INTERVAL + BUSY
    assert_invariants()


def seconds(saga_id):
    saga = SagaInstance.objects.get(id=saga_id)
    return (saga.finished_at - saga.started_at).total_seconds()
