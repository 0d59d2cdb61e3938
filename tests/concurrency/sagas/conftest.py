"""The trial saga and its broker, as in the integration tests."""

from tests.integration.sagas.conftest import (  # noqa: F401
    broker,
    celery_without_broker,
    fan_saga,
    group,
    nobody_listens,
    trial_saga,
)
