import re

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from config import health
from config.metrics import Backlog
from payments.gateways.http import PROVIDER
from sagas.api import Unknown, transaction

READY = {"ready": True, "database": "ok", "redis": "ok", "migrations": "ok"}


def test_a_process_is_alive_without_a_database(client):
    assert client.get("/livez").content == b"ok\n"


@pytest.mark.django_db
def test_a_migrated_site_is_ready(client):
    assert client.get("/readyz").json() == READY


@pytest.mark.django_db
def test_a_missing_migration_makes_it_not_ready_and_says_so(client, monkeypatch):
    monkeypatch.setitem(health._known, "migrated", False)
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *_: ["one"])
    monkeypatch.setattr(connection, "close", lambda: None)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["migrations"] == "1 not applied: run manage.py migrate"


@pytest.mark.django_db
@override_settings(REDIS_URL="unix:///nowhere/redis.sock")
def test_without_redis_it_is_still_ready_and_says_what_is_missing(client):
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["redis"].startswith("not reachable")


def test_every_answer_has_a_strict_content_policy_and_a_request_id(client):
    answer = client.get("/livez", headers={"X-Request-ID": "click-0001"})

    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Request-ID"] == "click-0001"


def test_a_request_id_that_could_forge_a_log_line_is_replaced(client):
    answer = client.get("/livez", headers={"X-Request-ID": "a b\tc"})

    assert answer.headers["X-Request-ID"] != "a b\tc"
    assert len(answer.headers["X-Request-ID"]) == 32


def figure(text, name):
    [line] = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.rpartition(" ")[2])


def test_a_scrape_counts_what_is_not_yet_published(client, committed_db):
    from orders.models import Outbox
    from sagas.api import uuid7

    before = client.get("/metrics").content.decode()
    with transaction("orders"):
        Outbox.objects.create(
            aggregatetype="orders.order",
            aggregateid=uuid7(),
            sequence=1,
            type="orders.OrderConfirmed",
            version=1,
            payload={},
            occurred_at="2026-01-01T00:00:00Z",
            correlation_id="c",
        )

    after = client.get("/metrics").content.decode()

    name = 'concord_outbox_unpublished{context="orders"}'
    assert figure(before, name) == 0
    assert figure(after, name) == 1
    assert figure(after, 'concord_outbox_oldest_unpublished_seconds{context="orders"}') > 0


def test_a_scrape_names_every_kind_of_backlog(client, committed_db):
    text = client.get("/metrics").content.decode()

    for name in (
        "concord_outbox_unpublished",
        "concord_consumer_lag_seconds",
        "concord_sagas_unfinished",
        "concord_sagas_oldest_unfinished_seconds",
        "concord_sagas_parked",
        "concord_sagas_retrying",
        "concord_step_faults_last_hour",
        "concord_dead_letters",
        "concord_circuit_open_seconds",
        "concord_flows_missing_a_hop",
        "concord_flows_parked",
    ):
        assert f"# TYPE {name} gauge" in text


def test_a_system_that_is_not_called_is_seen_in_a_scrape(client, committed_db, settings):
    settings.SAGAS = {**settings.SAGAS, "BREAKER_FAILURES": 1}
    name = 'concord_circuit_open_seconds{system="payments.provider"}'
    assert figure(client.get("/metrics").content.decode(), name) == 0

    with pytest.raises(Unknown), PROVIDER.call():
        raise Unknown("no answer")
    assert figure(client.get("/metrics").content.decode(), name) >= 1
    PROVIDER.forget()


def test_the_table_of_metrics_names_each_of_them(committed_db):
    found = {metric.name for metric in Backlog().collect()}

    text = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(concord_\w+)` \|", text, re.MULTILINE)

    assert sorted(rows) == sorted(found)
