"""The counters of rare events: each is counted somewhere, in one process or over many."""

import re
import subprocess
import sys

import pytest

from sagas.sometimes import PLACES, forget, met, sometimes
from tests.architecture.source import ROOT, modules


@pytest.fixture(autouse=True)
def nothing_met(monkeypatch):
    monkeypatch.delenv("CONCORD_SOMETIMES_FILE", raising=False)
    forget()
    yield
    forget()


def test_what_happens_is_counted_and_the_rest_stays_at_zero():
    sometimes("fence.refused")
    sometimes("fence.refused")

    assert met() == {**dict.fromkeys(PLACES, 0), "fence.refused": 2}


def test_an_unknown_event_is_a_mistake():
    with pytest.raises(AssertionError, match=r"fence\.refuzed"):
        sometimes("fence.refuzed")


def test_a_file_gathers_what_many_processes_have_met(monkeypatch, tmp_path):
    file = tmp_path / "met"
    assert set(met(file).values()) == {0}
    monkeypatch.setenv("CONCORD_SOMETIMES_FILE", str(file))
    program = (
        "import os\nfrom sagas.sometimes import sometimes\n"
        "for _ in range(50):\n    sometimes('copy.refused')\nos.kill(os.getpid(), 9)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) for _ in range(3)]

    assert [process.wait(30) for process in processes] == [-9, -9, -9]
    assert met(file)["copy.refused"] == 150
    assert met()["copy.refused"] == 0


def test_every_event_is_counted_somewhere_and_every_counted_event_is_listed():
    counted = {
        name
        for module in modules()
        for call in re.findall(r"sometimes\(([^()]*)", module.text)
        for name in re.findall(r'"([a-z_.]+)"', call)
    }

    assert counted == set(PLACES)
