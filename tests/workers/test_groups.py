"""Branches of a group in real workers: two processes at once, one of them killed."""

import pytest

from sagas.api import connection_of, start, transaction, uuid7
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import registry
from tests.processes import eventually
from tests.workers.shop import rows
from tests.workers.side_by_side.sagas import MEETING, Meeting
from tests.workers.side_by_side.steps import TABLE
from tests.workers.test_kills import killer  # noqa: F401 - a fixture

PLACE = "call.returned/right"


@pytest.fixture
def saga_id(committed_db, monkeypatch):
    monkeypatch.setattr(registry, "SAGAS", {**registry.SAGAS, ("orders.meeting", 1): MEETING})
    with connection_of("orders").cursor() as cursor:
        cursor.execute(TABLE)
    return uuid7()


def met(saga_id):
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            # Two sessions may fill two pages at once: the table has no order of its own.
            "SELECT branch, pid, note FROM public.met WHERE saga = %s ORDER BY at",
            [saga_id],
        )
        return cursor.fetchall()


def test_branches_run_in_two_processes_at_once_and_one_that_is_killed_runs_again(
    processes,
    killer,  # noqa: F811
    saga_id,
):
    env = {**killer.env, "DJANGO_SETTINGS_MODULE": "tests.workers.side_by_side.settings"}
    processes.beat()
    processes.worker(concurrency=2, env=env)
    killer.arm([PLACE])

    with transaction("orders"):
        start(MEETING, Meeting(), key="1", saga_id=saga_id)
    eventually(lambda: killer.hit(PLACE), 30, "the right one is killed after its call")
    eventually(lambda: status(saga_id) == "completed", 60, f"it ends: {standing(saga_id)}")

    # Where a busy machine lets one wait for the other in vain, it is tried again.
    def pids(branch, note):
        return [pid for who, pid, what in met(saga_id) if (who, what) == (branch, note)]

    [*_, seen_on_the_left], [*_, killed] = pids("left", "met"), pids("right", "met")
    assert seen_on_the_left != killed, "they were under way at once"
    [left], [repeated], [_] = pids("left", "done"), pids("right", "done"), pids("part", "done")
    assert killed not in {left, repeated}
    assert SagaInstance.objects.get(id=saga_id).state == {"pids": [left, repeated]}
    runs = StepRun.objects.filter(saga_id=saga_id)
    attempts = dict(runs.values_list("name", "attempts"))
    assert attempts["right"] >= 2
    assert set(runs.values_list("state")) == {("done",)}


def status(saga_id):
    return SagaInstance.objects.get(id=saga_id).status


def standing(saga_id):
    return rows(
        "SELECT name, state, attempts, due_at FROM sagas_steprun WHERE saga_id = %s", [saga_id]
    )
