"""The trial saga, with the broker's messages caught so that a test can deliver them as it likes."""

from uuid import UUID

import pytest
from celery import current_app
from celery.exceptions import Ignore
from django.db import connection
from kombu import Connection

from sagas import tasks  # noqa: F401 - registers them
from sagas.models import SagaInstance
from sagas.orchestration import canvas, requests, wakes
from sagas.orchestration.steps import StepRejected
from sagas.outbox import subscriptions
from tests.integration.sagas import fan, trial


class Broker:
    """Every message that would have gone to the broker, in order."""

    def __init__(self):
        self.sent = []

    def __call__(self, signature, **options):
        self.sent.append(signature)
        return True

    def take(self):
        messages, self.sent = self.sent, []
        return messages

    def run_chain(self, signature):
        """Run a chain as a worker does; answer how it ended."""
        links = list(getattr(signature, "tasks", [signature]))
        for link in links:
            try:
                current_app.tasks[link.task](*link.args)
            except Ignore:
                return "ignored"
            except StepRejected:
                # Celery copies the chain's error callback to every link.
                self.sent += signature.options.get("link_error", [])
                return "rejected"
        return "passed"

    def drain(self, most=20):
        """Deliver until nothing is left."""
        ends = []
        for _ in range(most):
            messages = self.take()
            if not messages:
                return ends
            ends += [self.run_chain(message) for message in messages]
        raise AssertionError("messages without end")


@pytest.fixture
def broker(monkeypatch):
    caught = Broker()
    monkeypatch.setattr(canvas, "publish", caught)
    # Every saga is rung for by itself; `test_batches.py` is about the others.
    monkeypatch.setattr(wakes, "is_first", lambda _: True)
    return caught


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A broker that hung in one test is not held against the next."""
    monkeypatch.setattr(canvas, "_patience", canvas._Patience())


@pytest.fixture(autouse=True)
def trial_saga(committed_db):
    trial.register()
    trial.SCRIPT.clear()
    trial.CALLS.clear()
    trial.table_of_effects()


@pytest.fixture
def celery_without_broker(monkeypatch):
    """A broker whose port is closed."""
    app = current_app._get_current_object()
    nowhere = Connection(
        "redis://127.0.0.1:1/0", transport_options=app.conf.broker_transport_options
    )
    monkeypatch.setattr(app, "connection_for_write", lambda *_, **__: nowhere)
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)


@pytest.fixture
def nobody_listens(monkeypatch):
    """Only what a test subscribes is heard, and only while it runs."""
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", {})
    requests.listen()  # the engine, to contexts with a database of their own


@pytest.fixture
def fan_saga(trial_saga):
    fan.register()


@pytest.fixture
def group(broker, fan_saga):
    """A saga that stands in its first group, nothing of which has run."""
    saga_id = fan.begin()
    [first] = broker.take()
    broker.run_chain(first)
    broker.take()
    return saga_id


def row(saga_id: UUID) -> SagaInstance:
    return SagaInstance.objects.get(id=saga_id)


def make_due(saga_id: UUID) -> None:
    """Let every wait of a saga be over: lease, delay and due time."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sagas_saga SET due_at = clock_timestamp() - interval '1 hour',"
            " not_before = CASE WHEN not_before IS NULL THEN NULL"
            " ELSE clock_timestamp() - interval '1 hour' END,"
            " leased_until = CASE WHEN leased_until IS NULL THEN NULL"
            " ELSE clock_timestamp() - interval '1 hour' END WHERE id = %s",
            [saga_id],
        )
