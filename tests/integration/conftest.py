"""Here the engine is called in the test's own process."""

import pytest


@pytest.fixture(autouse=True)
def nothing_ends_by_itself(lasting):
    """Every test says itself when a lease or a delay is over."""
