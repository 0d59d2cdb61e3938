"""The code with which docs/language/versions.md begins."""

import re
from datetime import timedelta

from sagas import api
from sagas.models import SagaInstance
from sagas.orchestration import canvas, registry
from tests.architecture.source import ROOT
from tests.integration.sagas import trial

PAGE = (ROOT / "docs" / "language" / "versions.md").read_text()


def test_the_code_of_the_page_starts_the_second_of_two_versions(committed_db, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    definitions, starting = code.split("with ")
    parcel_id = api.uuid7()
    names = {
        **vars(api),
        "timedelta": timedelta,
        "Parcel": trial.TrialState,
        "reserve": trial.build_take,
        "release": trial.build_put_back,
        "insure": trial.build_capture,
        "send": trial.build_book,
        "parcel_id": parcel_id,
    }
    exec(definitions, names)
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: True)
    monkeypatch.setattr(registry, "SAGAS", {})
    registry.add(names["PARCEL_1"])
    registry.add(names["PARCEL_2"])
    exec(f"with {starting}", names)

    saga = SagaInstance.objects.get()
    assert (saga.def_version, saga.key) == (2, f"parcel-{parcel_id}")
    assert [step.name for step in names["PARCEL_2"].steps] == ["reserve", "insure", "send"]
    assert PAGE.startswith("# Versions of a definition\n\n```python\n")
