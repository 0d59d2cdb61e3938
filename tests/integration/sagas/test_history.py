"""The history: every event for good, moved there by the statement that marks it."""

import pickle
import threading
from collections import Counter
from importlib import import_module

import pytest
from django.db import OperationalError, ProgrammingError, connections

from orders.models import Customer, Event, Outbox
from sagas import append_only, checks, failpoints
from sagas.api import VersionConflict, connection_of, publish, transaction
from sagas.checks import check_histories
from sagas.failpoints import FailpointHit
from sagas.ids import uuid7
from sagas.outbox import history
from sagas.outbox.pruning import prune
from sagas.outbox.publishing import UnsavedAggregate
from sagas.outbox.relay import relay
from sagas.transactions import alias_of
from tests.databases import rows
from tests.integration.sagas.news import Told, Whispered, a_teller, grow_old, listen, outbox, tell
from tests.together import PATIENCE, raised, together

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")

MONTHS = 100 * 86_400
KEPT = ("id", "aggregatetype", "aggregateid", "type", "version", "payload", "occurred_at")


@pytest.fixture
def fail_at(monkeypatch):
    """Arms failpoints in this process, or disarms them."""
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda text: monkeypatch.setenv("CONCORD_FAILPOINTS", text)


def kept(context="orders"):
    found = rows(f"SELECT id FROM {context}_event ORDER BY position")
    return [str(event_id) for (event_id,) in found]


def sent_by_a_release_without_history():
    """Mark everything as published, and move nothing."""
    rows(
        "UPDATE orders_outbox SET published_at = clock_timestamp(), settled_at = clock_timestamp()"
        " WHERE published_at IS NULL"
    )


def test_what_the_relay_marks_is_in_the_history_as_it_was_written():
    teller = a_teller()
    [event_id] = tell(teller, "hello", event=Whispered)
    assert kept() == []

    relay()
    row, event = outbox(event_id=event_id), Event.objects.get(id=event_id)
    assert [getattr(event, name) for name in KEPT] == [getattr(row, name) for name in KEPT]
    assert (event.position, event.number) == (row.position, row.sequence)
    assert (event.recorded_at, event.actor) == (row.created_at, "system")
    assert (event.correlation_id, event.causation_id, event.traceparent) == (
        row.correlation_id,
        row.causation_id,
        row.traceparent,
    )


def test_a_relay_that_dies_before_the_mark_has_kept_nothing_and_the_next_keeps_it_once(fail_at):
    listen()
    [event_id] = tell(a_teller(), "hello")
    fail_at("relay.published=raise:1")
    with pytest.raises(FailpointHit):
        relay()
    assert kept() == []

    grow_old()
    relay()
    assert kept() == [event_id]


def test_a_relay_that_dies_after_the_mark_has_kept_what_it_marked(fail_at):
    [event_id] = tell(a_teller(), "hello")
    fail_at("relay.committed/orders=raise:1")
    with pytest.raises(FailpointHit):
        relay()

    assert kept() == [event_id]
    relay()
    assert kept() == [event_id]


def test_two_relays_at_once_keep_each_event_once_and_each_stream_in_order(settings):
    settings.SAGAS = {**settings.SAGAS, "RELAY_BATCH": 7}
    ids = [event_id for _ in range(8) for event_id in tell(a_teller(), *"abcdefgh")]

    assert raised(together(*[relay] * 3)) == []
    assert sorted(kept()) == sorted(ids)
    streams = rows(
        "SELECT array_agg(number ORDER BY position) FROM orders_event GROUP BY aggregateid"
    )
    assert streams == [([1, 2, 3, 4, 5, 6, 7, 8],)] * 8


def test_what_was_marked_without_a_history_is_kept_later_once(fail_at):
    ids = tell(a_teller(), *"abc")
    sent_by_a_release_without_history()
    [unsent] = tell(a_teller(), "unsent")

    assert history.keep_missed("orders") == 3
    assert kept() == ids
    assert history.keep_missed("orders") == 0
    relay()
    assert kept() == [*ids, unsent]


def test_what_was_missed_is_kept_page_by_page_and_a_death_between_two_loses_nothing(
    monkeypatch, fail_at
):
    monkeypatch.setattr(history, "PAGE", 2)
    ids = tell(a_teller(), *"abcde")
    sent_by_a_release_without_history()
    fail_at("history.kept=raise:1")
    with pytest.raises(FailpointHit):
        history.keep_missed("orders")
    assert kept() == ids[:2]

    assert history.keep_missed("orders") == 3
    assert kept() == ids


def test_the_migration_keeps_what_was_sent_before_there_was_a_history_and_may_be_repeated():
    migration = import_module("orders.migrations.0010_history")
    ids = tell(a_teller(), *"abc")
    sent_by_a_release_without_history()
    [unsent] = tell(a_teller(), "unsent")

    rows(migration.KEEP_SENT)
    assert kept() == ids
    relay()
    rows(migration.KEEP_SENT)
    assert kept() == [*ids, unsent]


@pytest.mark.parametrize("context", ["billing", "payments"])
def test_the_migrations_of_all_contexts_keep_the_same(context):
    ours, theirs = (
        import_module(f"{label}.migrations.0010_history").KEEP_SENT for label in ("orders", context)
    )

    assert theirs == ours.replace("orders", context)


def test_keeping_what_was_missed_while_a_relay_moves_it_keeps_it_once():
    for _ in range(5):
        tell(a_teller(), *"abcdefgh")
    outcomes = together(relay, lambda: history.keep_missed("orders"), relay)

    assert raised(outcomes) == []
    history.keep_missed("orders")
    assert len(kept()) == 40


def test_pruning_first_keeps_what_was_marked_without_a_history():
    [event_id] = tell(a_teller(), "old")
    sent_by_a_release_without_history()
    grow_old(MONTHS)

    assert prune() == 1
    assert (Outbox.objects.count(), kept()) == (0, [event_id])


def test_what_was_missed_is_looked_for_among_the_newest_and_the_rest_is_kept_when_pruned(
    monkeypatch,
):
    monkeypatch.setattr(history, "NEWEST", 4)
    monkeypatch.setattr(history, "PAGE", 2)
    looks = []
    monkeypatch.setattr(history, "failpoint", lambda name, context: looks.append((name, context)))
    old = tell(a_teller(), *"abcdefgh")
    sent_by_a_release_without_history()
    grow_old(MONTHS)
    young = tell(a_teller(), *"ijkl")
    sent_by_a_release_without_history()

    assert history.keep_missed("orders") == 4
    assert looks == [("history.kept", "orders")] * 2
    assert kept() == young

    assert prune() == 8
    assert sorted(kept()) == sorted([*old, *young])


def test_an_event_that_is_not_in_the_history_is_not_pruned_however_old(monkeypatch):
    """Its place in the history is taken by another event: a person has to look."""
    teller = a_teller()
    tell(teller, "old", event=Whispered)
    rows(
        "INSERT INTO orders_event (position, id, aggregatetype, aggregateid, number, type, version,"
        " payload, occurred_at, recorded_at, correlation_id) VALUES"
        " (0, gen_random_uuid(), 'orders.customer', %s, 1, 't', 1, '{}', now(), now(), '')",
        [teller.id],
    )
    relay()
    grow_old(MONTHS)

    assert prune() == 0
    assert Outbox.objects.count() == 1


# -- grants ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["orders", "billing", "payments"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_a_context_may_add_to_its_history_and_read_it_and_nothing_else(settings, context, change):
    settings.CONTEXT_ROLES = True
    added = (
        f"INSERT INTO {context}_event (position, id, aggregatetype, aggregateid, number, type,"
        " version, payload, occurred_at, recorded_at, correlation_id) VALUES"
        " (1, gen_random_uuid(), 't', %s, 1, 't', 1, '{}', now(), now(), '')"
    )
    with transaction(context), connection_of(context).cursor() as cursor:
        cursor.execute(added, [uuid7()])
        cursor.execute(f"SELECT count(*) FROM {context}_event")
        assert cursor.fetchone() == (1,)

    refused = f"permission denied for table {context}_event"
    with pytest.raises(ProgrammingError, match=refused), transaction(context):
        rows(change.format(f"{context}_event"))


@pytest.mark.colocated
@pytest.mark.parametrize(("reader", "owner"), [("orders", "billing"), ("billing", "payments")])
def test_another_context_reads_a_history_as_little_as_an_outbox(settings, reader, owner):
    settings.CONTEXT_ROLES = True
    for name in ("outbox", "event"):
        refused = f"permission denied for table {owner}_{name}"
        with pytest.raises(ProgrammingError, match=refused), transaction(reader):
            rows(f"SELECT 1 FROM {owner}_{name}")


def test_migrating_again_puts_back_a_guard_that_is_gone():
    connection = connection_of("orders")
    rows("DROP TRIGGER append_only ON orders_event")

    append_only.guard(connection, "orders_event")
    append_only.guard(connection, "orders_event")
    append_only.guard(connection, "orders_of_no_such_table")
    found = rows("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders_event'::regclass")
    assert found == [(1,)]


@pytest.fixture
def switch_off():
    """Switches the guards of histories off, until the test is over."""

    def switch(*contexts):
        for context in contexts:
            rows(f"ALTER TABLE {context}_event DISABLE TRIGGER append_only")

    yield switch
    for context in ("orders", "payments"):
        rows(f"ALTER TABLE {context}_event ENABLE TRIGGER append_only")


def test_migrating_again_puts_a_guard_on_that_was_switched_off(switch_off):
    connection = connection_of("orders")
    switch_off("orders")
    assert append_only.unguarded(connection, ["orders_event"]) == [("orders_event", "is off")]

    append_only.guard(connection, "orders_event")
    assert append_only.unguarded(connection, ["orders_event"]) == []


def test_the_check_names_each_history_whose_guard_is_off(switch_off):
    switch_off("orders", "payments")

    said = check_histories(databases=list(connections))
    assert [(each.id, each.msg) for each in said] == [
        ("sagas.W022", "orders_event can be rewritten: its trigger append_only is off"),
        ("sagas.W022", "payments_event can be rewritten: its trigger append_only is off"),
    ]
    assert check_histories() == [], "no database is asked unless it is named"
    only = check_histories(databases=[alias_of("payments")])
    assert only[-1].msg.startswith("payments_event ")


def test_the_check_says_nothing_of_a_database_that_is_not_migrated_or_not_there(monkeypatch):
    assert append_only.unguarded(connection_of("orders"), ["orders_of_no_such_table"]) == []

    def gone(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(checks, "unguarded", gone)
    assert check_histories(databases=list(connections)) == []


# -- the expected version --------------------------------------------------------------------------


def test_an_event_that_expects_the_last_number_it_knows_is_told():
    teller = a_teller()
    for number in range(3):
        with transaction("orders"):
            publish(Told(text=str(number)), aggregate=teller, expected=number)

    assert teller.event_sequence == 3


@pytest.mark.parametrize("expected", [0, 3])
def test_an_event_that_expects_another_number_is_refused_with_both(expected):
    teller = a_teller()
    tell(teller, "a", "b")

    with pytest.raises(VersionConflict) as refused, transaction("orders"):
        publish(Told(text="c"), aggregate=teller, expected=expected)
    assert (refused.value.expected, refused.value.actual) == (expected, 2)
    assert refused.value.stream == f"orders.customer:{teller.id}"
    assert str(refused.value) == f"{refused.value.stream} is at event 2, not at {expected}"
    assert vars(pickle.loads(pickle.dumps(refused.value))) == vars(refused.value)
    assert Outbox.objects.count() == 2


def test_of_many_who_expect_the_same_number_one_wins_and_the_others_are_told():
    teller = a_teller()
    ready = threading.Barrier(6)

    def writer():
        mine = Customer.objects.get(id=teller.id)
        ready.wait(PATIENCE)
        with transaction("orders"):
            return publish(Told(text="mine"), aggregate=mine, expected=0)

    outcomes = together(*[writer] * 6)

    conflicts = raised(outcomes)
    assert [type(conflict) for conflict in conflicts] == [VersionConflict] * 5
    assert {conflict.actual for conflict in conflicts} == {1}
    assert Outbox.objects.count() == 1


def test_an_aggregate_without_a_row_is_no_conflict():
    with pytest.raises(UnsavedAggregate), transaction("orders"):
        publish(Told(text="lost"), aggregate=Customer(id=uuid7()), expected=0)
