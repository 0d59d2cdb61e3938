"""The trial saga and its broker, as in the integration tests."""

import pytest

from sagas.orchestration import store
from sagas.transactions import connection_of, table
from tests.integration.sagas.conftest import (  # noqa: F401
    broker,
    celery_without_broker,
    fan_saga,
    group,
    nobody_listens,
    trial_saga,
)


@pytest.fixture
def without(monkeypatch):
    """Takes guards out of the statements they stand in."""

    def take_out(*guards):
        for module, name, guard, instead in guards:
            sql = getattr(module, name)
            assert sql.count(guard) == 1, f"{guard!r} stands in {name} {sql.count(guard)} times"
            monkeypatch.setattr(module, name, sql.replace(guard, instead))

    return take_out


@pytest.fixture
def without_tombstones(monkeypatch):
    """A compensation reads the forward barrier and leaves none."""

    def only_look(claimed, step_no, context):
        with connection_of(context).cursor() as cursor:
            cursor.execute(
                f"SELECT state FROM {table(context, 'barrier')}"
                " WHERE saga_id = %s AND step_no = %s AND direction = 'do'",
                [claimed.saga_id, step_no],
            )
            found = cursor.fetchone()
        return None if found is None else found[0]

    return lambda: monkeypatch.setattr(store, "tombstone", only_look)
