"""Reading what a program is told."""

from orders.json_api.problems import KINDS
from orders.models import Idempotency, Order, Outbox
from sagas.models import SagaInstance


def problem(response):
    assert response.headers["Content-Type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == response.status_code == KINDS[said["code"]].status
    assert said["type"] == f"/docs/http-api#{said['code']}"
    assert said["title"]
    assert said["detail"]
    assert said["instance"] == response.wsgi_request.path
    assert all(one["detail"] and one["remedy"] and one["field"] for one in said["errors"])
    return said


def fields(response):
    return [(one["field"], one["code"]) for one in problem(response)["errors"]]


def nothing_was_written():
    return not (Order.objects.exists() or SagaInstance.objects.exists()) and not (
        Idempotency.objects.exists() or Outbox.objects.filter(type="orders.OrderPlaced").exists()
    )
