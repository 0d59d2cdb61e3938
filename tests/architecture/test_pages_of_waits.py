"""The code with which the pages on signals, timers and children begin."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest

from sagas import api, clock
from sagas.models import SagaInstance
from sagas.orchestration import registry
from sagas.orchestration.sweep import sweep
from tests.architecture.source import ROOT
from tests.integration.sagas import trial, waiting
from tests.integration.sagas.conftest import broker, make_due, row, trial_saga  # noqa: F401

NAMES = {
    **vars(api),
    "timedelta": timedelta,
    "Approved": waiting.Approved,
    "reserve": waiting.build_take,
    "release": waiting.build_put_back,
    "send": waiting.build_book,
    "keep_approval": waiting.keep_approval,
    "Purchase": waiting.ListenState,
    "Subscription": waiting.ListenState,
    "Booking": waiting.ListenState,
}
OF_PARENTS = {
    **NAMES,
    "Order": waiting.ParentState,
    "GIFT": waiting.ERRAND,
    "gift_of": waiting.start_errand,
    "key_of": waiting.key_of_errand,
    "take_back": waiting.build_return,
    "keep_gift": waiting.keep_errand,
    "reserve": waiting.build_parents_take,
    "release": waiting.build_parents_put_back,
    "send": waiting.build_parents_book,
}


@pytest.fixture
def page(trial_saga, monkeypatch):  # noqa: F811
    """Runs the code of a page; the saga that it begins."""
    monkeypatch.setattr(registry, "SAGAS", {})

    def run(name, names, **state):
        text = (ROOT / "docs" / "language" / f"{name}.md").read_text()
        assert re.match(r"# [\w ]+\n\n```python\n", text)

        def begin(saga):
            saga_id = api.uuid7()
            registry.add(saga)
            with api.transaction("orders"):
                return api.start(saga, saga.state(**state), key=str(saga_id), saga_id=saga_id)

        names = {**names, "begin": begin}
        exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
        return names["saga_id"]

    return run


def test_the_saga_of_the_page_on_signals_goes_on_with_its_signal(broker, page):  # noqa: F811
    saga_id = page("signals", NAMES)
    broker.drain()

    assert (row(saga_id).status, row(saga_id).state["approved_by"]) == ("completed", "alice")


def test_the_saga_of_the_page_on_timers_sleeps_for_thirty_days(broker, page):  # noqa: F811
    saga_id = page("timers", NAMES)
    broker.drain()
    clock.travel(timedelta(days=29))
    sweep()
    broker.drain()
    assert row(saga_id).waiting_for == "timer:try_it"

    clock.travel(timedelta(days=1))
    sweep()
    broker.drain()
    assert row(saga_id).status == "completed"


def test_the_saga_of_the_page_on_children_completes_with_its_child(broker, page):  # noqa: F811
    saga_id = page("children", OF_PARENTS, subject=api.uuid7(), key="gift-1")
    broker.drain()
    child = SagaInstance.objects.get(parent_id=saga_id)
    assert row(saga_id).waiting_for == "child:gift"

    api.signal(child.id, "go", waiting.Go(), key="1")
    broker.drain()
    assert (row(saga_id).status, row(saga_id).state["hold"]) == ("completed", "h1")


def test_the_saga_of_the_page_on_times_is_given_ten_minutes_for_its_reservation(broker, page):  # noqa: F811
    saga_id = page("time-limits", NAMES)
    assert row(saga_id).step_deadline_at is not None
    clock.travel(timedelta(minutes=11))
    sweep()
    broker.drain()

    saga = row(saga_id)
    assert (saga.status, saga.failure, saga.failed_step) == ("compensated", "deadline", "reserve")


def test_the_call_of_the_page_on_heartbeats_goes_on_where_it_was(broker, trial_saga):  # noqa: F811
    text = (ROOT / "docs" / "language" / "heartbeats.md").read_text()
    assert re.match(r"# [\w ]+\n\n```python\n", text)
    printed = []

    def print_page(key, page):
        if len(printed) == 2:
            printed.append("out of paper")
            raise TimeoutError
        printed.append(key)

    names = {**vars(api), "Print": trial.Hold, "print_page": print_page}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    command = SimpleNamespace(pages=4)
    trial.SCRIPT["hold"] = lambda: names["print_catalogue"](command, "key")
    saga_id = trial.begin()
    broker.drain()
    make_due(saga_id)
    sweep()
    broker.drain()

    assert printed == ["key:0", "key:1", "out of paper", "key:2", "key:3"]
    assert row(saga_id).status == "completed"
