import pytest

from tests.integration.simulator.world import provider_running


@pytest.fixture(scope="session")
def running_provider():
    with provider_running("test_provider") as provider:
        yield provider


@pytest.fixture
def provider(running_provider):
    running_provider.reset()
    return running_provider
