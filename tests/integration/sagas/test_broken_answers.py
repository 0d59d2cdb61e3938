"""What must hold of the answer to a signal."""

import pytest

from sagas.api import Signaled, signal
from tests.integration.sagas import waiting
from tests.integration.sagas.conftest import row
from tests.integration.sagas.waiting import Approved


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


def test_a_signal_behind_another_one_is_not_said_to_be_delivered(broker):
    saga_id = waiting.begin()
    broker.drain()
    assert signal(saga_id, "approve", Approved(by="alice"), key="1") is Signaled.DELIVERED
    second = signal(saga_id, "approve", Approved(by="bob"), key="2")
    broker.drain()

    assert row(saga_id).state["approved_by"] == "alice"
    assert second is not Signaled.DELIVERED  # nobody will ever read it
