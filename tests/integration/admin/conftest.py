import pytest

from tests.integration.sagas import trial
from tests.integration.sagas.conftest import Broker, broker

__all__ = ["Broker", "broker"]


@pytest.fixture(autouse=True)
def trial_saga(committed_db):
    trial.register()
    trial.SCRIPT.clear()
    trial.CALLS.clear()
    trial.table_of_effects()
