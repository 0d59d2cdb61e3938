"""The figures of metrics and dashboard: what they count, and that the past costs them nothing."""

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from config.bench import stored
from sagas import clock, measured
from sagas.ids import uuid7
from sagas.models import DeadLetter
from sagas.outbox import lag
from sagas.transactions import connection_of
from tests.integration.admin.world import signed_in
from tests.integration.sagas import trial
from tests.integration.sagas.conftest import row

STORED = 100_000
SLOW = 30
"""Seconds that a busy machine may need until it is asked."""


def set_rows(assignments, *saga_ids):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE sagas_saga SET {assignments} WHERE id = ANY(%s)", [list(saga_ids)])


def grown(age, least):
    """Whether something is as old as it was made, and not much older."""
    return least <= age < least + SLOW


def scrape():
    """Every figure by its name and labels."""
    lines = Client().get("/metrics").content.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def figure(name, **labels):
    told = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{told}}}" if told else name


def under_way(name="concord_sagas_standing", status="running", waits_for="nothing", **labels):
    return figure(
        name, saga=trial.TRIAL.name, version=1, status=status, waits_for=waits_for, **labels
    )


def test_ages_are_those_of_sagas_that_exist(broker):
    sagas = [trial.begin() for _ in range(20)]
    for number, saga_id in enumerate(sagas, start=1):
        set_rows(f"started_at = statement_timestamp() - interval '{number} minutes'", saga_id)

    found = scrape()

    ages = [found[under_way("concord_sagas_age_seconds", quantile=q)] for q in ("0.5", "0.95", "1")]
    assert all(map(grown, ages, [600, 1140, 1200])), ages
    assert found[under_way()] == 20
    name = {"saga": trial.TRIAL.name, "status": "running"}
    assert grown(found[figure("concord_sagas_oldest_unfinished_seconds", **name)], 1200)


def test_what_sleeps_on_purpose_makes_the_others_no_older(broker):
    awake, asleep = trial.begin(), trial.begin()
    set_rows(
        "waiting_for = 'timer:nap', started_at = statement_timestamp() - interval '30 days'", asleep
    )

    found = scrape()

    assert found[under_way()] == found[under_way(waits_for="timer")] == 1
    assert found[under_way("concord_sagas_age_seconds", quantile="1")] < 60
    assert row(awake).waiting_for is None
    name = {"saga": trial.TRIAL.name, "status": "running"}
    assert found[figure("concord_sagas_unfinished", **name)] == 2


def test_the_ratio_of_compensated_sagas_is_that_of_the_last_hour(broker):
    sagas = [trial.begin() for _ in range(6)]
    broker.drain()
    ended = "status = 'compensated', past_return = false"
    with connection.cursor() as cursor:  # what has ended does not move, whoever writes
        cursor.execute("ALTER TABLE sagas_saga DISABLE TRIGGER USER")
    set_rows(ended, *sagas[:2])
    set_rows("finished_at = statement_timestamp() - interval '61 minutes'", *sagas[1:3])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE sagas_saga ENABLE TRIGGER USER")

    found = scrape()

    name = "concord_sagas_ended_last_hour"
    of = {"saga": trial.TRIAL.name}
    assert found[figure(name, **of, status="completed")] == 3
    assert found[figure(name, **of, status="compensated")] == 1
    assert found[figure("concord_sagas_compensated_ratio", **of)] == 0.25
    page = signed_in("viewer").get(reverse("admin:index"))
    assert [(e.completed, e.compensated_percent) for e in page.context["board"].ended] == [
        (3, "25")
    ]


def test_a_timer_that_nobody_takes_up_is_seen(broker):
    saga_id = trial.begin()
    name = figure("concord_timer_lag_seconds", of="sagas")
    assert scrape()[name] == 0

    set_rows("due_at = statement_timestamp() - interval '5 minutes'", saga_id)

    assert grown(scrape()[name], 300)
    page = signed_in("viewer").get(reverse("admin:index"))
    assert "one is overdue for 5 min" in page.content.decode()


def test_where_there_are_more_than_are_looked_at_it_is_said(broker, monkeypatch):
    for _ in range(3):
        trial.begin()
    assert scrape()["concord_sagas_cut"] == 0

    monkeypatch.setattr(measured, "MOST", 3)

    assert scrape()["concord_sagas_cut"] == 1
    assert "3 or more" in signed_in("viewer").get(reverse("admin:index")).content.decode()


def test_an_event_that_a_context_has_not_applied_is_seen(broker, monkeypatch):
    events = {("orders", "billing"): ["billing.Told"]}
    monkeypatch.setattr(lag, "_subscribed", lambda: events)
    with connection_of("billing").cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_outbox (id, aggregatetype, aggregateid, sequence, type, version,"
            " payload, occurred_at, correlation_id, created_at, published_at) SELECT"
            " gen_random_uuid(), 'billing.invoice', gen_random_uuid(), 1, 'billing.Told', 1, '{}',"
            " now(), 'c', statement_timestamp() - interval '2 minutes', published"
            " FROM unnest(ARRAY[now(), NULL]::timestamptz[]) AS published"
        )

    found = scrape()

    labels = {"consumer": "orders", "producer": "billing"}
    assert found[figure("concord_consumer_unapplied", **labels)] == 2
    assert grown(found[figure("concord_consumer_lag_seconds", **labels)], 120)
    text = signed_in("viewer").get(reverse("admin:index")).content.decode()
    assert "Events that orders has not applied" in text


def wait_in_orders(count, type_):
    """Events that were sent and that nobody has settled; the ids of them."""
    with connection_of("orders").cursor() as cursor:
        cursor.execute(
            "INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version,"
            " payload, occurred_at, correlation_id, published_at) SELECT"
            " gen_random_uuid(), 'orders.order', gen_random_uuid(), 1, %s, 1, '{}', now(), 'c',"
            " clock_timestamp() FROM generate_series(1, %s) RETURNING id",
            [type_, count],
        )
        return [event_id for (event_id,) in cursor.fetchall()]


def listens_to_told(monkeypatch):
    monkeypatch.setattr(lag, "_subscribed", lambda: {("billing", "orders"): ["orders.Told"]})
    monkeypatch.setattr(lag, "MOST", 3)


def test_a_context_is_behind_also_where_many_older_events_wait_for_somebody_else(
    committed_db, monkeypatch
):
    listens_to_told(monkeypatch)
    wait_in_orders(5, "orders.Whispered")
    wait_in_orders(2, "orders.Told")

    assert [one.count for one in lag.behind()] == [2]


@pytest.mark.colocated
def test_a_context_is_behind_also_where_many_older_events_are_applied_and_not_settled(
    committed_db, monkeypatch
):
    listens_to_told(monkeypatch)
    with connection_of("billing").cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_inbox (consumer, event_id, type)"
            " SELECT 'billing', unnest(%s), 'orders.Told'",
            [wait_in_orders(5, "orders.Told")],
        )
    wait_in_orders(2, "orders.Told")

    assert [one.count for one in lag.behind()] == [2]


def store_the_past():
    """Finished and sleeping sagas, and what else a month leaves behind."""
    stored.store(STORED)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(
            "INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version,"
            " payload, occurred_at, correlation_id, published_at, settled_at)"
            " SELECT gen_random_uuid(), 'orders.order', gen_random_uuid(), 1,"
            " 'orders.OrderConfirmed', 1, '{}', now(), '', now(), now()"
            " FROM generate_series(1, 20000)"
        )
        cursor.execute(
            "INSERT INTO sagas_stepfault (id, saga_id, step_no, name, direction, attempt, kind,"
            " error, traceback, worker, task_id, at) SELECT"
            " ('01900000-0000-7' || substr(gen_random_uuid()::text, 16))::uuid,"
            " gen_random_uuid(), 1, 'hold', 'do', 1, 'fault', 'TimeoutError: t', '', '', '',"
            " now() - interval '1 year' FROM generate_series(1, 20000)"
        )
        cursor.execute("RESET statement_timeout")
    DeadLetter.objects.bulk_create(
        DeadLetter(
            context="orders",
            producer="billing",
            event_id=uuid7(),
            aggregate_id=uuid7(),
            sequence=1,
            resolved_at=clock.real(),
        )
        for _ in range(5000)
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def read_in_sequence():
    """How many rows sequential scans have read so far, by table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT relname, seq_tup_read FROM pg_stat_user_tables")
        return dict(cursor.fetchall())


@pytest.mark.colocated
@pytest.mark.timeout(300)
def test_no_figure_reads_what_has_ended_one_after_the_other(broker):
    store_the_past()
    operator = signed_in("administrator")
    before = read_in_sequence()

    found = scrape()
    page = operator.get(reverse("admin:index"))

    after = read_in_sequence()
    scanned = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert {name: rows for name, rows in scanned.items() if rows > 1000} == {}
    standing = "concord_sagas_unfinished"
    assert found[figure(standing, saga="orders.bench", status="running")] == STORED
    assert page.context["board"].backlogs[0].count == STORED
