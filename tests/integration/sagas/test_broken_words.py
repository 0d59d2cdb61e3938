"""What must hold of words that no database keeps."""

import secrets

import pytest

from sagas import clock, standing
from sagas.api import SagasError, signal
from sagas.management import outlook
from sagas.orchestration.asleep import wait_of
from tests.integration.sagas import waiting
from tests.integration.sagas.conftest import row
from tests.integration.sagas.waiting import Approved


@pytest.fixture(autouse=True)
def waiting_sagas(trial_saga):
    waiting.register()


def test_a_key_of_a_signal_that_no_index_holds_is_refused_like_a_business_key(broker):
    saga_id = waiting.begin()
    with pytest.raises(SagasError):
        signal(saga_id, "approve", Approved(by="bob"), key=secrets.token_hex(5000))


@pytest.mark.parametrize("begin", [waiting.begin, waiting.begin_parent])
def test_a_terminal_says_of_a_saga_that_waits_what_the_admin_says(broker, begin):
    saga_id = begin()
    broker.drain()
    saga = row(saga_id)
    assert saga.waiting_for is not None

    admin = standing.sentence(saga, [], clock.real(), [], wait_of(saga))
    assert admin.startswith("It waits for ")
    assert outlook.sentence(saga) == admin  # not "Step approve next attempt in 1 h."
