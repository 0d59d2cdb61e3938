"""What must hold of an operator's act on many."""

import io
from contextlib import suppress

import pytest
from django.core.management import call_command

from sagas.api import resume
from sagas.management.commands import sagas as terminal
from sagas.orchestration import orchestrator
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row
from tests.integration.sagas.test_link_ends import raising

pytestmark = pytest.mark.usefixtures("nobody_listens")


def test_what_a_colleague_has_resumed_meanwhile_is_not_compensated_for_its_former_cause(
    broker, settings, monkeypatch
):
    """`compensate --cause` is for all that are parked for it: who is faster is not undone."""
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    trial.SCRIPT["take"] = raising(*[RuntimeError("down")] * 9)
    first, second = [trial.begin() for _ in range(2)]
    broker.drain()
    assert [row(each).parked_reason for each in (first, second)] == [
        "take: 1 attempts, the last: RuntimeError: down"
    ] * 2
    del trial.SCRIPT["take"]

    def compensate(saga_id, **told):
        if saga_id == first:  # while the first one is seen to, the cause is mended
            assert resume(second, by="bob", reason="mended")
        return orchestrator.compensate(saga_id, **told)

    monkeypatch.setitem(terminal.ACTS, "compensate", compensate)
    with suppress(SystemExit):  # one is refused
        call_command(
            *("sagas", "compensate", "--cause", "take: RuntimeError: down"),
            *("--reason", "hopeless", "--by", "alice"),
            stdout=io.StringIO(),
        )
    broker.drain()
    assert (row(first).status, row(second).status) == ("compensated", "completed")
