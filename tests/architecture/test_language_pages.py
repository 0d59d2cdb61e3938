"""The code with which pages about the language begin is run as it stands there."""

import re
from datetime import timedelta
from uuid import UUID

import pytest

from sagas import api
from sagas.models import SagaInstance
from sagas.orchestration import canvas, registry
from tests.architecture.source import ROOT
from tests.integration.sagas import locking, trial


@pytest.fixture
def page(committed_db, monkeypatch):
    """Runs the code of a page up to its first transaction, registers its sagas, runs the rest."""
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: True)
    monkeypatch.setattr(registry, "SAGAS", {})

    def run(name, **names):
        text = (ROOT / "docs" / "language" / name).read_text()
        assert re.match(r"# [^\n]+\n\n```python\n", text), "a page begins with code"
        code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
        definitions, begins, starting = code.partition("with transaction")
        names |= {**vars(api), "timedelta": timedelta, "UUID": UUID}
        exec(definitions, names)
        for value in list(names.values()):
            if isinstance(value, api.Saga):
                registry.add(value)
        exec(f"{begins}{starting}", names)
        return names

    return run


PARCEL = {
    "Parcel": trial.TrialState,
    "reserve": trial.build_take,
    "release": trial.build_put_back,
    "insure": trial.build_capture,
    "send": trial.build_book,
}


def test_the_code_of_versions_starts_the_second_of_two(page):
    parcel_id = api.uuid7()
    names = page("versions.md", parcel_id=parcel_id, **PARCEL)

    saga = SagaInstance.objects.get()
    assert (saga.def_version, saga.key) == (2, f"parcel-{parcel_id}")
    assert [step.name for step in names["PARCEL_2"].steps] == ["reserve", "insure", "send"]


def test_the_code_of_locks_gives_the_order_to_the_return(page):
    order_id = api.uuid7()
    page(
        "locks.md",
        order_id=order_id,
        ReturnState=locking.ChangeState,
        take_back=locking.build_take,
        give_back=locking.build_put_back,
        refund=locking.build_book,
    )

    assert api.holder_of("orders.order", order_id).key == f"return-{order_id}"


def test_the_code_of_starting_once_starts_once(page):
    page("starting-once.md", parcel_id=api.uuid7(), PARCEL=trial.TRIAL, **PARCEL)

    assert SagaInstance.objects.count() == 1
