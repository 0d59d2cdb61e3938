import pytest

from payments.gateways import gateway
from tests.integration.simulator.world import KEY, provider_running


@pytest.fixture(scope="session")
def running_provider():
    with provider_running("test_provider_payments") as provider:
        yield provider


@pytest.fixture
def provider(running_provider, settings):
    """A fresh provider, and the settings that lead to it."""
    running_provider.reset()
    settings.PAYMENT_PROVIDER_URL = running_provider.url
    settings.PAYMENT_PROVIDER_KEY = KEY
    settings.PAYMENT_PROVIDER_TIMEOUT = 3.0  # as long as each call that hangs is waited for
    return running_provider


@pytest.fixture
def port(provider):
    """The port to that provider."""
    return gateway()
