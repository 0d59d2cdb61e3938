"""``manage.py sagas``: what an operator sees and does from a terminal."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from sagas.api import Rejected, park, uuid7
from sagas.models import OperatorAction
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_link_ends import raising


def said(*words):
    """What the command prints; a refusal's exit code is kept beside it."""
    out = StringIO()
    try:
        call_command("sagas", *map(str, words), stdout=out)
    except SystemExit as exited:
        return out.getvalue(), exited.code
    return out.getvalue(), 0


def document(*words):
    text, code = said(*words, "--json")
    return json.loads(text), code


@pytest.fixture
def sagas(broker):
    """One saga of every status, and a parked one."""
    completed = trial.begin("done")
    broker.drain()
    trial.SCRIPT["take"] = raising(Rejected("sold_out"))
    compensated = trial.begin("undone")
    broker.drain()
    trial.SCRIPT["take"] = raising(RuntimeError("down"))
    running = trial.begin("under-way")
    broker.drain()
    parked = trial.begin("stopped")
    park(parked, by="alice", reason="looked at by hand")
    broker.take()
    return {
        "completed": completed,
        "compensated": compensated,
        "running": running,
        "parked": parked,
    }


def test_sagas_are_listed_the_newest_first(sagas):
    found, _ = document("list")

    assert [saga["key"] for saga in found["sagas"]] == ["stopped", "under-way", "undone", "done"]


@pytest.mark.parametrize(
    ("status", "keys"),
    [
        ("running", {"under-way", "stopped"}),
        ("completed", {"done"}),
        ("compensated", {"undone"}),
        ("compensating", set()),
        ("parked", {"stopped"}),
        ("unfinished", {"under-way", "stopped"}),
    ],
)
def test_sagas_are_listed_by_status(sagas, status, keys):
    found, _ = document("list", "--status", status)

    assert {saga["key"] for saga in found["sagas"]} == keys


def test_sagas_are_listed_by_definition_and_as_many_as_asked_for(sagas):
    assert len(document("list", "--name", "orders.trial", "--limit", "2")[0]["sagas"]) == 2
    assert document("list", "--name", "orders.nothing")[0] == {"sagas": []}
    assert said("list", "--name", "orders.nothing") == ("no such saga\n", 0)


def test_the_list_for_people_says_where_each_saga_stands(sagas):
    text, _ = said("list")

    lines = {line.split()[3]: line for line in text.splitlines()}
    assert "parked: looked at by hand" in lines["stopped"]
    assert "compensated" in lines["undone"]
    assert str(sagas["completed"]) in lines["done"]


def test_a_saga_is_shown_with_its_steps_and_faults(sagas):
    shown, _ = document("show", sagas["running"])

    assert (shown["saga"]["status"], shown["saga"]["cursor"]) == ("running", 1)
    assert [(step["name"], step["state"]) for step in shown["steps"]] == [("open", "done")]
    [fault] = shown["faults"]
    assert (fault["name"], fault["kind"], fault["attempt"]) == ("take", "fault", 1)
    text, _ = said("show", sagas["running"])
    assert "fault: RuntimeError: down" in text
    assert "status           running" in text


def test_a_saga_that_is_not_there_cannot_be_shown(sagas):
    with pytest.raises(CommandError, match="there is no saga"):
        said("show", uuid7())


@pytest.mark.parametrize("verb", ["show", "resume", "compensate", "park"])
def test_what_is_no_id_is_refused_with_the_remedy(verb):
    words = [verb, "order-1"] + ([] if verb == "show" else ["--reason", "why"])

    with pytest.raises(CommandError, match="'order-1' is no saga id; `sagas list` shows them"):
        said(*words)


def test_a_parked_saga_is_resumed_and_the_act_is_kept(sagas, broker):
    acted = said("resume", sagas["parked"], "--reason", "mended", "--by", "bob")

    assert acted == ("resume: done\n", 0)
    assert row(sagas["parked"]).parked_at is None
    act = OperatorAction.objects.get(action="resume")
    assert (act.by, act.reason, act.outcome) == ("bob", "mended", "done")
    trial.SCRIPT.clear()
    broker.drain()
    assert row(sagas["parked"]).status == "completed"


def test_a_running_saga_is_parked_and_compensated(sagas, broker):
    assert document("park", sagas["running"], "--reason", "wait")[0]["accepted"] is True
    assert row(sagas["running"]).parked_reason == "wait"
    assert document("compensate", sagas["running"], "--reason", "fraud")[0]["accepted"] is True
    broker.drain()
    assert row(sagas["running"]).status == "compensated"


@pytest.mark.parametrize(
    ("verb", "which", "why"),
    [
        ("resume", "running", "resume: refused, it is not parked"),
        ("park", "completed", "park: refused, it has ended or is parked already"),
        ("compensate", "completed", "compensate: refused, it is past the point of no return"),
        ("compensate", "compensated", "compensate: refused"),
    ],
)
def test_an_act_that_cannot_be_done_is_refused_with_an_exit_code(sagas, verb, which, why):
    text, code = said(verb, sagas[which], "--reason", "why")

    assert (text.startswith(why), code) == (True, 1)
    assert document(verb, sagas[which], "--reason", "why")[1] == 1
    acts = OperatorAction.objects.filter(target_id=str(sagas[which]))
    assert list(acts.values_list("action", "outcome")) == [(verb, "refused")] * 2


@pytest.mark.parametrize("verb", ["resume", "compensate", "park"])
def test_an_act_needs_a_reason(sagas, verb):
    before = OperatorAction.objects.count()
    with pytest.raises(CommandError, match="--reason"):
        said(verb, sagas["parked"])
    with pytest.raises(CommandError, match="Say why"):
        said(verb, sagas["parked"], "--reason", "  ")
    assert OperatorAction.objects.count() == before


@pytest.mark.parametrize("verb", ["resume", "compensate", "park"])
def test_an_act_on_a_saga_that_is_not_there_says_so(verb):
    with pytest.raises(CommandError, match="there is no saga"):
        said(verb, uuid7(), "--reason", "why")


def test_an_unknown_verb_is_refused():
    with pytest.raises(CommandError, match="invalid choice"):
        said("delete", uuid7())
