"""The write side: one row in the transaction of the change, numbered without a gap."""

import contextlib
import threading

import pytest
from django.test.utils import isolate_apps

from billing.models import BillingAccount
from orders.models import Customer, Outbox
from sagas import correlation
from sagas.api import OutsideTransaction, folds, publish, transaction
from sagas.ids import uuid7
from sagas.outbox import bell
from sagas.outbox.publishing import ForeignEvent, UnsavedAggregate
from sagas.streams import folding
from sagas.transactions import connection_of
from tests.integration.sagas.news import Told, a_teller, outbox, tell
from tests.together import PATIENCE, raised, together

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")


class Abandoned(Exception):
    pass


def test_an_event_stands_in_the_outbox_with_its_envelope():
    teller = a_teller()
    given = correlation.Correlation(correlation_id="c1", causation_id="s1", traceparent="t1")
    with correlation.correlated(given):
        [event_id] = tell(teller, "hello")

    row = outbox(event_id=event_id)
    assert (row.type, row.version, row.payload) == (Told.name, 1, {"text": "hello"})
    assert (row.aggregatetype, row.aggregateid, row.sequence) == ("orders.customer", teller.id, 1)
    assert (row.correlation_id, row.causation_id, row.traceparent) == ("c1", "s1", "t1")
    assert (row.published_at, row.settled_at, row.leased_until) == (None, None, None)
    assert row.occurred_at is not None


def test_outside_a_transaction_nothing_is_published():
    teller = a_teller()

    with pytest.raises(OutsideTransaction):
        publish(Told(text="lost"), aggregate=teller)
    assert Outbox.objects.count() == 0


def test_a_context_publishes_only_its_own_events():
    teller = a_teller()

    said = r"orders\.TrialTold published in a transaction of billing"
    with pytest.raises(ForeignEvent, match=said), transaction("billing"):
        publish(Told(text="not mine"), aggregate=teller)
    assert Outbox.objects.count() == 0


def test_a_context_publishes_only_about_its_own_aggregates():
    with pytest.raises(ForeignEvent, match=r"billing\.billingaccount"), transaction("orders"):
        publish(Told(text="not mine"), aggregate=BillingAccount(id=uuid7()))


def test_a_proxy_of_an_aggregate_tells_of_the_same_stream(monkeypatch):
    with isolate_apps("orders"):

        class Regular(Customer):
            class Meta:
                proxy = True
                app_label = "orders"

    teller = a_teller()
    tell(teller, "a")
    with transaction("orders"):
        publish(Told(text="b"), aggregate=Regular.objects.get(id=teller.id))
    tell(teller, "c")

    told = outbox().values_list("aggregatetype", "sequence")
    assert list(told) == [("orders.customer", number) for number in (1, 2, 3)]
    monkeypatch.setattr(folding, "FOLDS", {})
    folds(Regular)(lambda facts, _: facts)
    assert list(folding.FOLDS) == ["orders.customer"]


def test_an_aggregate_without_a_row_has_no_events():
    with pytest.raises(UnsavedAggregate, match=r"orders\.customer"), transaction("orders"):
        publish(Told(text="whose?"), aggregate=Customer(email="a@example.com"))
    assert Outbox.objects.count() == 0


def test_a_transaction_that_is_rolled_back_leaves_no_event_and_no_gap():
    teller = a_teller()
    with contextlib.suppress(Abandoned), transaction("orders"):
        publish(Told(text="never"), aggregate=teller)
        raise Abandoned

    assert Outbox.objects.count() == 0
    tell(teller, "first")
    assert list(outbox().values_list("sequence", flat=True)) == [1]


def test_events_of_one_transaction_are_numbered_in_their_order():
    teller = a_teller()
    tell(teller, "a", "b", "c")

    assert [(r.sequence, r.payload["text"]) for r in outbox()] == [(1, "a"), (2, "b"), (3, "c")]
    assert teller.event_sequence == 3


def test_many_writers_at_once_leave_no_gap_and_no_number_twice():
    teller = a_teller()

    def writer(name):
        for number in range(10):
            tell(Customer.objects.get(id=teller.id), f"{name}{number}")

    outcomes = together(*[lambda name=name: writer(name) for name in "abcdefgh"])

    assert raised(outcomes) == []
    assert sorted(outbox().values_list("sequence", flat=True)) == list(range(1, 81))


def test_the_order_of_the_numbers_is_the_order_of_the_commits():
    """Whoever publishes second about an aggregate waits for the first one's commit."""
    teller = a_teller()
    has_published, may_commit = threading.Event(), threading.Event()

    def slow():
        with transaction("orders"):
            publish(Told(text="slow"), aggregate=Customer.objects.get(id=teller.id))
            has_published.set()
            assert may_commit.wait(PATIENCE)

    def quick():
        assert has_published.wait(PATIENCE)
        with transaction("orders"):
            with connection_of("orders").cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '20s'")
            publish(Told(text="quick"), aggregate=Customer.objects.get(id=teller.id))

    def watcher():
        assert has_published.wait(PATIENCE)
        wait_until_somebody_waits_for_a_lock()
        may_commit.set()

    assert raised(together(slow, quick, watcher)) == []
    assert [r.payload["text"] for r in outbox().order_by("sequence")] == ["slow", "quick"]


def wait_until_somebody_waits_for_a_lock():
    for _ in range(2000):
        with connection_of("orders").cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
        threading.Event().wait(0.005)
    raise AssertionError("nobody waits")


def test_saving_an_old_copy_of_an_aggregate_does_not_take_numbers_back():
    teller = a_teller()
    stale = Customer.objects.get(id=teller.id)
    tell(teller, "a", "b")
    with transaction("orders"):
        stale.name = "Renamed"
        stale.save()

    tell(Customer.objects.get(id=teller.id), "c")
    assert list(outbox().values_list("sequence", flat=True)) == [1, 2, 3]


def test_a_hundred_events_of_one_transaction_ring_once(broker):
    tell(a_teller(), *[str(number) for number in range(100)])

    assert [message.task for message in broker.take()] == ["sagas.relay"]


def test_many_commits_ring_once_until_the_relay_has_looked(broker):
    teller = a_teller()
    for number in range(5):
        tell(teller, str(number))
    assert len(broker.take()) == 1

    bell.answer("orders")
    tell(teller, "news")
    assert len(broker.take()) == 1


def test_a_transaction_that_is_rolled_back_does_not_ring(broker):
    teller = a_teller()
    with contextlib.suppress(Abandoned), transaction("orders"):
        publish(Told(text="never"), aggregate=teller)
        raise Abandoned

    assert broker.take() == []


def test_without_redis_nothing_is_raised_into_the_caller(broker, settings, caplog):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    bell.client.cache_clear()
    try:
        [event_id] = tell(a_teller(), "hello")
        bell.answer("orders")
    finally:
        bell.client.cache_clear()

    assert outbox(event_id=event_id).published_at is None
    assert broker.take() == []
    assert {"bell_unheard", "bell_unanswered"} <= {record.message for record in caplog.records}
