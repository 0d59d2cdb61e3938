"""What must hold of words that no database keeps."""

import secrets

import pytest

from sagas.api import SagasError, signal
from tests.integration.sagas import waiting
from tests.integration.sagas.waiting import Approved


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


def test_a_key_of_a_signal_that_no_index_holds_is_refused_like_a_business_key(broker):
    saga_id = waiting.begin()
    with pytest.raises(SagasError):
        signal(saga_id, "approve", Approved(by="bob"), key=secrets.token_hex(5000))
