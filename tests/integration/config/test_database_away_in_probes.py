"""The probes and the operators' first page where one context has lost its database.

Runs in every mode: where the suite has one database, each context has its own connection to it.
"""

from time import monotonic

import pytest
from django.contrib.auth.models import User

from sagas.outbox import exchange, stream
from sagas.transactions import ENGINE
from tests.integration import away
from tests.integration.away import CONTEXTS

SOON = 8.0
"""Seconds; a scrape of Prometheus gives up after ten."""

detached, gone, frozen = away.detached, away.gone, away.frozen
pytestmark = pytest.mark.usefixtures("committed_db", "detached")


def scrape(client):
    began = monotonic()
    answer = client.get("/metrics")
    assert monotonic() - began < SOON
    assert answer.status_code == 200
    return answer.content.decode()


def labels(text, name):
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    return {line.partition("{")[2].partition("}")[0]: float(line.split()[-1]) for line in lines}


def named_as_away(text):
    found = labels(text, "concord_database_away")
    assert set(found) == {f'database="{alias}"' for alias in ("default", *CONTEXTS)}
    return [name for name, value in found.items() if value]


def test_a_scrape_has_the_figures_of_the_others_and_names_what_is_away(client, gone, monkeypatch):
    monkeypatch.setattr(exchange, "is_on", lambda: True)
    monkeypatch.setattr(stream, "address", lambda: "redis://")
    assert named_as_away(scrape(client)) == []

    gone("billing")
    text = scrape(client)

    assert named_as_away(text) == ['database="billing"']
    for name in ("concord_outbox_unpublished", "concord_outside_unpublished", "concord_stream_due"):
        assert set(labels(text, name)) == {'context="orders"', 'context="payments"'}
    pairs = set(labels(text, "concord_consumer_unapplied"))
    assert pairs
    assert not any("billing" in pair for pair in pairs)
    assert labels(text, "concord_projection_behind")
    assert "concord_sagas_cut 0.0" in text


def test_a_scrape_without_the_engine_still_has_the_outboxes(client, gone):
    gone(ENGINE)
    text = scrape(client)

    assert named_as_away(text) == ['database="default"']
    assert len(labels(text, "concord_outbox_unpublished")) == len(CONTEXTS)
    assert "concord_sagas_cut " not in text


def test_a_server_that_hangs_holds_up_no_scrape(client, frozen):
    frozen("billing")
    assert named_as_away(scrape(client)) == ['database="billing"']
    assert named_as_away(scrape(client)) == [], "another connection is answered"


def test_readiness_names_the_database_that_is_away(client, gone):
    gone("billing")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "billing: not reachable (OperationalError)"


def test_readiness_does_not_wait_for_a_server_that_hangs(client, frozen):
    frozen("billing")
    answer = client.get("/readyz")
    assert answer.json()["database"] == "billing: not reachable (OperationalError)"
    assert client.get("/readyz").status_code == 200


def test_the_operators_first_page_comes_and_names_what_is_away(client, gone):
    User.objects.create_superuser("ops", password="x")
    client.login(username="ops", password="x")
    gone("payments")
    answer = client.get("/admin/")
    assert answer.status_code == 200
    assert "The database payments is not reachable" in answer.content.decode()
