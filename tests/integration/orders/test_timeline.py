"""The operators' timeline: a row for each event of any context, built anew as any read model."""

import importlib
from types import SimpleNamespace

import pytest
from django.apps import apps

from orders.models import Position, Projection, Timeline
from orders.timeline import TIMELINE
from sagas.contexts import contexts
from sagas.outbox import past
from sagas.outbox.event_map import emitted
from sagas.projections import rebuild as rebuilding
from sagas.projections.lag import lag_of
from sagas.projections.rebuild import rebuild
from sagas.transactions import connection_of, transaction
from tests.databases import rows
from tests.factories import a_customer, a_sku, an_order
from tests.integration.data.world import run, settle
from tests.integration.orders.board import close, place, spread
from tests.together import going_on

pytestmark = pytest.mark.usefixtures("committed_db", "session_provider")

SAME = ("correlation_id", "causation_id", "version", "sequence", "actor")
IN_OUTBOX = ("id", "type", "created_at", "aggregatetype", "aggregateid", *SAME)
IN_TIMELINE = ("event_id", "name", "at", "aggregate_type", "aggregate_id", *SAME)
SENTENCES = {
    "orders.OrderPlaced": "Order N was placed, for 500.00 GBP",
    "orders.OrderConfirmed": "Order N was confirmed",
    "billing.InvoiceIssued": "Invoice I was issued, for 500.00 GBP",
    "billing.InvoiceSettled": "Invoice I was paid in full",
    "payments.PaymentAuthorized": "500.00 GBP are held on the card",
    "payments.PaymentCaptured": "500.00 GBP were taken",
}


def timeline():
    """Every row as it stands."""
    return rows("SELECT * FROM orders_timeline ORDER BY event_id")


def events_in(context):
    """What a context has told, without what it has asked of the engine."""
    outbox = apps.get_model(context, "Outbox")._default_manager
    return outbox.filter(type__in=TIMELINE.names)


def outboxes():
    return [row for context in contexts() for row in events_in(context).order_by("position")]


def spread_all():
    """Deliver what is told, and what is told of that."""
    for _ in range(3):
        spread()


@pytest.fixture
def shop():
    """Orders that ended well, that failed and that nobody has carried out."""
    a_sku("MUG", stock=1000, price="500")
    good = an_order(("MUG", 100))
    run(good)
    run(an_order(("MUG", 1), token="card_declined"))
    an_order(("MUG", 1))
    spread_all()
    return good


def test_the_timeline_hears_of_every_event_that_any_context_tells():
    told = {key for key in emitted() if key[0].partition(".")[0] in contexts()}

    assert set(TIMELINE.handlers) == told


def test_every_event_of_three_contexts_is_one_row_of_it(shop):
    told = [facts for context in contexts() for facts in events_in(context).values_list(*IN_OUTBOX)]
    kept = Timeline.objects.values_list(*IN_TIMELINE)

    assert {name.partition(".")[0] for _, name, *_ in told} == set(contexts())
    assert sorted(kept) == sorted(told)
    assert all(row.name.startswith(f"{row.context}.") for row in Timeline.objects.all())


def test_each_event_says_in_words_what_has_happened(shop):
    click = Timeline.objects.get(aggregate_id=shop.id, sequence=1).correlation_id
    [invoice] = [row.payload["number"] for row in outboxes() if row.type == "billing.InvoiceIssued"]
    said = {
        row.name: row.sentence.replace(shop.number, "N").replace(invoice, "I")
        for row in Timeline.objects.filter(correlation_id=click)
    }

    assert {name: said[name] for name in SENTENCES} == SENTENCES
    declined = Timeline.objects.get(name="payments.PaymentDeclined")
    assert declined.sentence == "5.00 GBP were refused: generic_decline"


def test_every_order_of_its_events_and_each_of_them_twice_makes_the_same_rows(shop):
    live = timeline()
    told = [
        event
        for producer, names in TIMELINE.producers().items()
        for event in past.events_of(producer, 0, names=names, limit=1000)
    ]
    rows("DELETE FROM orders_timeline WHERE sequence > 0")

    for event in (*reversed(told), *told):
        with transaction("orders"):
            TIMELINE.put("orders_timeline", event)
    assert timeline() == live


# -- built anew ------------------------------------------------------------------------------------


def test_built_anew_it_is_the_live_one_row_by_row(shop):
    live = timeline()

    done = rebuild(TIMELINE)
    assert timeline() == live
    assert (done.rows, done.events) == (len(live), len(outboxes()))


def test_built_from_the_history_it_is_what_the_outboxes_made_of_it(shop):
    live = timeline()
    settle()
    for context in contexts():
        rows(f"DELETE FROM {context}_outbox WHERE position > 0")

    rebuild(TIMELINE)
    assert timeline() == live


def test_built_again_and_again_under_load_it_is_row_by_row_what_it_is_after_quiet(monkeypatch):
    monkeypatch.setattr(rebuilding, "FEW", 5)
    a_sku("MUG", stock=100_000)
    counts = []

    def look():
        # A reader never sees less than was there: no half-built table, and no empty one.
        counts.append(Timeline.objects.count())

    for _ in range(5):
        place()
    spread_all()
    with going_on(
        lambda: run(an_order(("MUG", 1))), lambda: close(place(), "failed"), spread, spread, look
    ):
        for _ in range(4):
            rebuild(TIMELINE)
    spread_all()

    live = timeline()
    assert counts == sorted(counts)
    assert counts[0] >= 5
    rebuild(TIMELINE)
    assert timeline() == live
    assert {row[0] for row in rows("SELECT event_id FROM orders_timeline")} == {
        row.id for row in outboxes()
    }
    assert {row.context for row in Timeline.objects.all()} == set(contexts())


# -- a release that brings it ----------------------------------------------------------------------


def migrated():
    """What the migration notes beside the table."""
    migration = importlib.import_module("orders.migrations.0017_timeline")
    migration.say_that_it_is_not_built(apps, SimpleNamespace(connection=connection_of("orders")))
    return lag_of(TIMELINE).is_out_of_date


def test_where_nothing_was_applied_before_it_grows_from_the_first_event_on():
    assert not migrated()
    assert not Projection.objects.filter(name="orders.timeline").exists()


def test_where_events_were_applied_before_it_is_out_of_date_until_it_is_built():
    place()
    spread()
    rows("DELETE FROM orders_timeline WHERE sequence > 0")
    assert Position.objects.exists()

    assert migrated()
    rebuild(TIMELINE)
    assert not lag_of(TIMELINE).is_out_of_date
    assert Timeline.objects.count() == len(outboxes())


def test_a_customer_of_a_release_before_is_in_it_when_it_is_built():
    customer = a_customer()
    spread_all()
    rows("DELETE FROM orders_timeline WHERE sequence > 0")

    rebuild(TIMELINE)
    assert {row.aggregate_type for row in Timeline.objects.all()} == {
        "orders.customer",
        "billing.billingaccount",
    }
    [row] = Timeline.objects.filter(aggregate_id=customer.id)
    assert row.sentence == "A customer may order in GBP"
