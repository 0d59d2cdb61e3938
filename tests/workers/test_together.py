"""kill -9 around commits that several sagas share, in real processes."""

from collections import Counter

import pytest

from sagas.models import SagaInstance
from tests.integration.sagas import trial, trio
from tests.processes import eventually
from tests.workers.shop import assert_invariants
from tests.workers.test_kills import Killer
from tests.workers.test_waits import SETTINGS

pytestmark = pytest.mark.colocated  # over two databases no commit is shared

PLACES = [
    f"together.{when}/{step}"
    for step in ("take", "lift", "send", "undo.lift", "undo.take")
    for when in ("before_commit", "committed")
]


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


@pytest.mark.timeout(180)
def test_sagas_that_share_commits_outlive_whoever_is_killed_around_them(processes, killer):
    trio.register()
    trial.table_of_effects()
    processes.beat(env=SETTINGS)
    processes.worker(env={**SETTINGS, **killer.env})
    killer.arm(PLACES)

    through, refused = [], []
    for _ in range(12):
        through += [trio.begin() for _ in range(8)]
        refused += [trio.begin(order=trio.NOWHERE) for _ in range(8)]
        eventually(lambda: not unfinished(), 60, "all of them end")
        if not killer.missing(PLACES):
            break

    assert killer.missing(PLACES) == []
    for ids, status, effects in (
        (through, "completed", ["take", "lift", "send"]),
        (refused, "compensated", ["take", "lift", "lower", "put_back", "close"]),
    ):
        assert Counter(SagaInstance.objects.filter(id__in=ids).values_list("status")) == {
            (status,): len(ids)
        }
        for saga_id in ids:
            assert trial.effects(saga_id) == effects
    assert_invariants()


def unfinished():
    return SagaInstance.objects.filter(finished_at=None).count()
