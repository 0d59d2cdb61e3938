"""The code with which the pages on groups and on conditions begin."""

import re
from datetime import timedelta

import pytest
from celery import current_app

from sagas import api, tasks
from sagas.models import SagaInstance, StepRun
from sagas.orchestration import canvas, registry
from tests.architecture.source import ROOT
from tests.integration.sagas import fan, trial

LANGUAGE = ROOT / "docs" / "language"
NAMES = {
    **vars(api),
    "timedelta": timedelta,
    "Parcel": fan.FanState,
    "pack": fan.build_pack,
    "unpack": fan.build_unpack,
    "keep_box": fan.keep_box,
    "hold": fan.build_hold,
    "release": fan.build_release,
    "keep_hold": fan.keep_hold,
    "capture": fan.build_capture,
    "book": fan.build_book,
    "tell": fan.build_tell,
    "reserve": fan.build_take,
    "put_back": fan.build_put_back,
    "check_credit": fan.build_score,
    "uncheck": fan.build_unscore,
}


@pytest.fixture
def of_page(committed_db, monkeypatch):
    """Registers what a page begins with, starts it, and brings it to its end."""
    trial.SCRIPT.clear()
    trial.table_of_effects()
    sent = []
    monkeypatch.setattr(canvas, "publish", lambda message, **_: sent.append(message) or True)
    monkeypatch.setattr(registry, "SAGAS", {})

    def run(page, **facts):
        text = (LANGUAGE / page).read_text()
        assert re.match(r"# [^\n]+\n\n```python\n", text), "the page begins with code"
        code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
        known = dict(NAMES)
        exec(compile(code, page, "exec"), known)
        saga = registry.add(known["PARCEL"])
        saga_id = api.uuid7()
        with api.transaction("orders"):
            api.start(saga, fan.FanState(subject=saga_id, **facts), key="1", saga_id=saga_id)
        while sent:
            message = sent.pop(0)
            current_app.tasks[message.task](*message.args)
        return SagaInstance.objects.get(id=saga_id)

    assert tasks.run_branch
    return run


def states(saga):
    return dict(StepRun.objects.filter(saga_id=saga.id).values_list("name", "state"))


def test_the_code_of_the_page_on_groups_runs_to_its_end(of_page):
    saga = of_page("parallel.md")

    assert (saga.status, saga.state["kept"]) == ("completed", ["b1", "h1"])
    assert sorted(trial.effects()) == ["book", "capture", "hold", "pack", "tell"]


@pytest.mark.parametrize(("total", "outcome"), [(20_000, "done"), (1, "skipped")])
def test_the_code_of_the_page_on_conditions_asks_the_state(of_page, total, outcome):
    saga = of_page("conditional.md", total=total)

    assert saga.status == "completed"
    assert states(saga) == {
        "reserve": "done",
        "check_credit": outcome,
        "capture": "done",
        "tell": outcome,
    }
