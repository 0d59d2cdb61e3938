"""A program that is not ours, written after docs/outbox.md alone, and what it hears."""

import os
import re
import subprocess
import sys
import time
from collections import Counter

import pytest
from django.conf import settings as project
from kombu import Connection

from orders.models import Outbox
from sagas.outbox import exchange, outside
from tests.integration.sagas.news import a_teller, tell
from tests.processes import ROOT, eventually
from tests.together import raised, together

EXCHANGE = "trial.outside"
BROKER = os.environ.get("TEST_OUTSIDE_BROKER_URL") or project.CELERY_BROKER_URL


@pytest.fixture
def on(settings, committed_db):
    settings.CLOUDEVENTS_EXCHANGE = EXCHANGE
    settings.CLOUDEVENTS_BROKER_URL = BROKER
    with Connection(BROKER) as connection:
        exchange.exchange()(connection.channel()).declare()
        connection.channel().queue_delete("warehouse")
    return {"CLOUDEVENTS_EXCHANGE": EXCHANGE, "CLOUDEVENTS_BROKER_URL": BROKER}


@pytest.fixture
def warehouse(on, tmp_path):
    """The consumer of the document, in a folder and an interpreter that know nothing of us."""
    text = (ROOT / "docs" / "outbox.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert not re.search(r"sagas|orders\.models|config|django", program)
    (tmp_path / "warehouse.py").write_text(program)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "warehouse.py"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "BROKER_URL": BROKER, "EXCHANGE": EXCHANGE},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    eventually(lambda: "ready" in log.read_text() or process.poll() is not None, 30, "it listens")
    assert process.poll() is None, log.read_text()
    yield lambda: [line.split() for line in log.read_text().splitlines()[1:]]
    process.kill()
    process.wait(10)


def subjects(lines):
    """The numbers of each subject's events, without what came twice, in their order."""
    found = {}
    for line in lines:
        if line[0] == "event":
            found.setdefault(line[2], []).append(int(line[3]))
    return found


def test_a_program_that_knows_only_the_document_gets_every_event_once_and_in_order(
    warehouse, processes, on
):
    processes.worker(env=on)
    processes.beat(env=on)
    tellers = [a_teller() for _ in range(5)]

    def writer(teller):
        return lambda: [tell(teller, str(n)) for n in range(20)]

    assert raised(together(*[writer(teller) for teller in tellers])) == []

    told = {f"orders.customer/{teller.id}": list(range(1, 21)) for teller in tellers}
    eventually(lambda: subjects(warehouse()) == told, 30, "everything has arrived in order")
    assert Counter(line[0] for line in warehouse())["out"] == 0
    eventually(lambda: not Outbox.objects.filter(outside_due=True).exists(), 30, "all is marked")


@pytest.mark.parametrize("place", ["outside.selected", "outside.published", "outside.committed"])
def test_a_worker_killed_at_each_place_of_the_way_outside_loses_nothing(
    warehouse, processes, on, tmp_path, place
):
    control = tmp_path / "failpoints"
    control.write_text(f"{place}=kill")
    processes.worker(env={**on, "CONCORD_FAILPOINTS_FILE": str(control)}, concurrency=1)
    processes.beat(env=on)
    teller = a_teller()
    tell(teller, *"abc")

    eventually((tmp_path / f"failpoints.{place}.hit").exists, 30, "it was killed")
    tell(teller, *"de")

    eventually(lambda: not Outbox.objects.filter(outside_due=True).exists(), 30, "all is marked")
    eventually(
        lambda: subjects(warehouse()) == {f"orders.customer/{teller.id}": [1, 2, 3, 4, 5]},
        20,
        "everything has arrived in order",
    )
    assert ("duplicate" in {line[0] for line in warehouse()}) is (place == "outside.published")


def test_how_fast_events_get_outside(warehouse, on, capsys):
    for _ in range(10):
        tell(a_teller(), *map(str, range(100)))
    began = time.perf_counter()
    sent = 0
    while count := outside.send():
        sent += count
    seconds = time.perf_counter() - began

    assert sent == 1000
    eventually(lambda: len(warehouse()) == 1000, 30, "everything has arrived")
    with capsys.disabled():
        print(f"\n{BROKER.partition(':')[0]}: {sent / seconds:.0f} events a second")
