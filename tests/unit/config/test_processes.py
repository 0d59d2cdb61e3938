import json
from pathlib import Path

import pytest

from config import processes, queues

ROOT = Path(__file__).parents[3]
CONTEXTS = ("orders", "billing", "payments")


def test_the_documented_processes_are_those_that_run():
    documented = json.loads((ROOT / "docs" / "processes.json").read_text())

    assert documented == processes.described("shared", CONTEXTS)


def test_the_procfile_says_the_same():
    procfile = (ROOT / "deploy" / "Procfile").read_text()

    assert procfile == processes.procfile("shared", CONTEXTS)


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("shared", "steps,fresh,events,ticks"),
        ("per-context", "orders,billing,payments,fresh,events,ticks"),
    ],
)
def test_a_worker_consumes_every_queue_of_the_mode(mode, names):
    worker = next(p for p in processes.processes(mode, CONTEXTS) if p.name == "worker")

    assert names in worker.command


@pytest.mark.parametrize("mode", ["shared", "per-context"])
def test_every_task_is_routed_to_a_queue_that_is_consumed(mode):
    consumed = queues.all_queues(mode, CONTEXTS)

    assert {route["queue"] for route in queues.routes(mode).values()} <= set(consumed)
    assert queues.DEFAULT[mode] in consumed


def test_a_command_with_a_variable_that_nobody_gave_is_not_run():
    with pytest.raises(KeyError):
        processes.fill_in(processes.WEB.command, {"HOST": "127.0.0.1"})


def test_a_name_that_begins_like_another_is_filled_in_whole():
    assert processes.fill_in(["$A:$AB"], {"A": "1", "AB": "2"}) == ["1:2"]


def test_the_broker_address_follows_from_the_one_of_redis():
    assert queues.broker_from("redis://h:1/2") == "redis://h:1/2"
    assert queues.broker_from("unix:///s?db=3") == "redis+socket:///s?virtual_host=3"


def test_only_redis_gets_the_options_of_redis():
    assert queues.transport_options("redis://h", 9)["visibility_timeout"] == 9
    assert queues.transport_options("amqp://h", 9) == {"confirm_publish": True}
    assert queues.transport_options("memory://", 9) == {}
