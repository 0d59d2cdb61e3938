import pytest
from celery import current_app
from celery.app.trace import build_tracer
from django_celery_results.models import TaskResult

from sagas import tasks
from sagas.api import Rejected
from sagas.orchestration import executor
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row


def trace(saga_id, **request):
    """Run the forward link as a worker does, results and all."""
    tracer = build_tracer(
        tasks.run_link.name, tasks.run_link, app=current_app._get_current_object()
    )
    tracer(
        "task-1", (str(saga_id), 1, 4, False), {}, {"id": "task-1", "hostname": "here", **request}
    )


@pytest.fixture
def began(broker):
    saga_id = trial.begin()
    broker.take()
    return saga_id


def say_no():
    raise Rejected("no")


def break_down(*arguments, **options):
    raise RuntimeError("broken")


def test_a_rejection_is_not_kept_as_a_failed_task(began, settings):
    settings.SAGAS = {**settings.SAGAS, "TIME_SLICE": 0.0}  # so that the task ends with it
    trial.SCRIPT["take"] = say_no
    trace(began)

    assert row(began).status == "compensating"
    assert TaskResult.objects.count() == 0


def test_what_breaks_a_link_is_kept_for_operators(began, monkeypatch):
    monkeypatch.setattr(executor.store, "claim", break_down)
    trace(began)

    assert TaskResult.objects.get(task_id="task-1").status == "FAILURE"


def test_a_broker_that_is_away_when_a_task_fails_ends_no_worker(
    began, monkeypatch, celery_without_broker, caplog
):
    monkeypatch.setattr(executor.store, "claim", break_down)
    callback = tasks.continue_saga.si(str(began))
    trace(began, errbacks=[callback], delivery_info={})

    assert TaskResult.objects.get(task_id="task-1").status == "FAILURE"
    assert [record.message for record in caplog.records].count("hint_lost") == 1
