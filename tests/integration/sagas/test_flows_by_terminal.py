"""What `manage.py flows` says of flows of events, and does to them."""

import pytest
from django.core.management import CommandError

from sagas.choreography import told, watchdog
from sagas.models import OperatorAction
from sagas.outbox.pruning import prune
from tests.databases import rows
from tests.integration.sagas.flows import a_flow, carry, flow, make_due, publish_all
from tests.integration.sagas.test_operating_by_terminal import document, said


def late(broker):
    a_flow(broker)
    publish_all()
    broker.take()
    make_due(overdue=True)
    watchdog.watch()
    broker.take()


def test_a_flow_whose_hop_is_missing_is_listed_and_shown(broker):
    assert said("flows", "list") == ("no flow is unfinished\n", 0)
    late(broker)

    [listed] = document("flows", "list", "--late")[0]["flows"]
    shown, code = document("flows", "show", flow().id)

    assert (listed["name"], listed["stands"], listed["redrives"]) == (
        "billing.reward",
        "running",
        1,
    )
    assert "hop 1 of 2: billing has not handled" in listed["missing"]
    assert "hop 1 of 2: billing has not handled" in said("flows", "list")[0]
    assert [(hop["through"], hop["applied_at"]) for hop in shown["hops"]] == [(False, "")] * 2
    assert "it is delivered again, 2 more times" in shown["next"]
    assert code == 0
    assert "billing hears orders.OrderConfirmed  missing" in said("flows", "show", flow().id)[0]


def test_a_flow_that_cannot_be_taken_back_says_why_and_not_which_hop_was_missing(
    broker, monkeypatch
):
    late(broker)
    said("flows", "compensate", flow().id, "--reason", "a mistake")
    monkeypatch.setattr(told, "emitted", lambda: {("orders.OrderConfirmed", 0): None})
    make_due()
    watchdog.watch()

    why = "orders.OrderConfirmed was told in version 1, and is version 0 here"
    assert why in document("flows", "show", flow().id)[0]["missing"]
    assert why in said("flows", "show", flow().id)[0]


def test_a_hop_that_is_through_for_longer_than_is_kept_since_when_is_done(broker, settings):
    a_flow(broker)
    carry(broker)
    settings.SAGAS = {**settings.SAGAS, "RETENTION_DAYS": 0}
    prune()

    assert "billing hears orders.OrderConfirmed  done" in said("flows", "show", flow().id)[0]
    shown, _ = document("flows", "show", flow().id)
    assert [(hop["through"], hop["applied_at"]) for hop in shown["hops"]] == [(True, "")] * 2


def test_a_flow_that_is_under_way_is_not_late(broker):
    a_flow(broker)

    assert document("flows", "list", "--late")[0]["flows"] == []
    assert "under way" in said("flows", "list")[0]


def test_a_flow_is_given_up_from_a_terminal_and_refused_the_second_time(broker):
    a_flow(broker)
    words = ("flows", "compensate", flow().id, "--reason", "a mistake", "--by", "alice")

    assert document(*words) == (
        {"act": "compensate", "done": [str(flow().id)], "refused": []},
        0,
    )
    assert document(*words)[1] == 1
    acts = OperatorAction.objects.order_by("id").values_list("action", "by", "outcome")
    assert list(acts) == [("compensate", "alice", "done"), ("compensate", "alice", "refused")]
    assert said("flows", "close", flow().id, "--reason", "r")[1] == 1


def test_a_flow_that_stands_otherwise_than_was_seen_is_left_alone(broker):
    a_flow(broker)
    saw = document("flows", "show", flow().id)[0]["seen"]
    assert f"--seen {saw}\n" in said("flows", "show", flow().id)[0]
    rows(
        "UPDATE sagas_watchedflow SET parked_at = clock_timestamp(), parked_reason = 'r',"
        " due_at = NULL"
    )

    words = ("flows", "compensate", flow().id, "--reason", "a mistake", "--seen")
    assert document(*words, saw)[1] == 1
    assert flow().state == "running"
    for unreadable in ("running", "running:2026-01-01T00:00:00"):
        with pytest.raises(CommandError, match="does not say what was seen"):
            said(*words, unreadable)
    assert document(*words, document("flows", "show", flow().id)[0]["seen"])[1] == 0
    assert flow().state == "compensating"


@pytest.mark.parametrize("key", ["nonsense", "01890000-0000-7000-8000-000000000000"])
def test_a_flow_that_is_not_there_is_said_in_one_line(broker, key):
    with pytest.raises(CommandError, match="flow") as refused:
        said("flows", "show", key)

    assert refused.value.returncode == 2


def test_a_flow_that_ended_long_ago_is_pruned_and_one_that_has_not_is_kept(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "RETENTION_DAYS": 1}
    a_flow(broker)
    carry(broker)
    make_due()
    watchdog.watch()
    rows("ALTER TABLE sagas_watchedflow DISABLE TRIGGER ended")
    rows("UPDATE sagas_watchedflow SET finished_at = now() - interval '3 days'")
    rows("ALTER TABLE sagas_watchedflow ENABLE TRIGGER ended")
    rows(
        "INSERT INTO sagas_watchedflow SELECT (jsonb_populate_record(f, jsonb_build_object("
        "'id', gen_random_uuid(), 'name', 'old', 'state', 'running', 'due_at', now(),"
        " 'opened_at', now() - interval '9 days', 'finished_at', NULL))).*"
        " FROM sagas_watchedflow f"
    )

    prune()

    assert flow().name == "old"
