"""Waits, signals, timers and children by real processes, some of which are killed."""

import os
import signal as signals
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest

from sagas.api import cancel, signal
from sagas.models import SagaInstance
from tests.integration.sagas import trial, waiting
from tests.integration.sagas.conftest import row
from tests.integration.sagas.waiting import LISTENING, SLEEPY, Go
from tests.processes import ROOT, eventually, process_environment
from tests.workers.shop import assert_invariants
from tests.workers.test_kills import Killer

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.workers.waiting.settings"}


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


@pytest.fixture
def running(processes, killer):
    waiting.register()
    trial.table_of_effects()
    processes.beat(env=SETTINGS)
    processes.first = processes.worker(env={**SETTINGS, **killer.env})
    return processes


def waits_for(saga_id, what):
    eventually(lambda: row(saga_id).waiting_for == what, 30, f"it waits for {what}")


def ends(saga_id, status):
    eventually(lambda: row(saga_id).finished_at is not None, 30, "it ends")
    assert row(saga_id).status == status


def told_by_a_process_of_its_own(saga_id, env=None):
    """Run the operators' command, and return its exit code."""
    command = ["manage.py", "sagas", "signal", str(saga_id), "approve", "--key", "1"]
    done = subprocess.run(
        [sys.executable, *command, "--payload", '{"by": "olga"}', "--reason", "told by phone"],
        cwd=ROOT,
        env={**os.environ, **process_environment(), **SETTINGS, **(env or {})},
        capture_output=True,
        check=False,
    )
    return done.returncode


PLACES = [
    *("wait.before_commit/approve", "wait.committed/approve"),
    *("wait.before_commit/errand", "wait.committed/errand", "wait.committed/undo.errand"),
    *("step.before_commit/go", "child.committed"),
]


@pytest.mark.timeout(180)
def test_waits_timers_and_children_outlive_whoever_is_killed(running, killer):
    killer.arm(PLACES)
    sleepy = waiting.begin(SLEEPY, patience=2)
    told, told_by_a_dying_process = waiting.begin(LISTENING), waiting.begin(LISTENING)
    through, called_back, undone = parents = [waiting.begin_parent() for _ in range(3)]
    for saga_id in (through, undone):
        child_is_told(saga_id)
        waits_for(saga_id, "signal:approve")
    waits_for(called_back, "child:errand")
    waits_for(child_of(called_back).id, "signal:go")
    for saga_id in (called_back, undone):
        cancel(saga_id, reason="no", by="alice")
        ends(saga_id, "compensated")
    assert killer.missing(PLACES) == []

    for saga_id in (told, told_by_a_dying_process):
        waits_for(saga_id, "signal:approve")
    running.kill(running.first)
    killed = {"CONCORD_FAILPOINTS": "signal.committed=kill"}
    assert told_by_a_process_of_its_own(told_by_a_dying_process, killed) == -signals.SIGKILL
    assert told_by_a_process_of_its_own(told) == 0
    signal(through, "approve", Go(), key="1")
    running.worker(env=SETTINGS)

    for saga_id in (sleepy, told, told_by_a_dying_process, through):
        ends(saga_id, "completed")
    assert row(sleepy).finished_at - row(sleepy).started_at >= timedelta(seconds=2)
    statuses = [child_of(saga_id).status for saga_id in parents]
    assert statuses == ["completed", "compensated", "completed"]
    assert SagaInstance.objects.filter(name="payments.errand").count() == 3
    assert Counter(trial.effects()) == {
        "take": 6,
        "hold": 3,
        "book": 4,
        "release": 1,
        "return h1": 1,
        "put_back": 2,
    }
    assert_invariants()


def child_is_told(saga_id):
    eventually(lambda: child_of(saga_id) is not None, 30, "it has a child")
    waits_for(child_of(saga_id).id, "signal:go")
    signal(child_of(saga_id).id, "go", Go(), key="1")


def child_of(saga_id):
    return SagaInstance.objects.filter(parent_id=saga_id).first()
