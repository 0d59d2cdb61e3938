"""Which context listens to which, and the figures of how far the read models are behind."""

import pytest
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from orders.models import Projection
from sagas.models import Consumer
from sagas.outbox import starts
from sagas.projections.lag import note, noted
from sagas.transactions import connection_of
from tests.databases import rows
from tests.integration.admin.world import signed_in
from tests.integration.orders.board import close, place, spread
from tests.integration.sagas.test_measured import figure, grown, scrape

pytestmark = pytest.mark.usefixtures("committed_db")

LIST = "admin:sagas_consumer_changelist"
BOARD = "orders.board"


def page(role="viewer", **asked):
    return signed_in(role).get(reverse(LIST), asked)


def a_consumer(**facts):
    told = {"consumer": "fraudwatch", "producer": "orders", "start": "first", "border": 4500}
    return Consumer.objects.create(**{**told, "names": ["orders.OrderPlaced"], **facts})


def test_an_empty_list_says_what_that_means():
    assert page().context["headline"] == (
        "No context listens to another so far:"
        " the next tick of a worker writes down each that does."
    )


def test_each_context_that_listens_is_there_after_a_tick():
    starts.begin_new()

    shown = page()
    found = {(row.consumer, row.producer) for row in shown.context["cl"].result_list}
    assert ("billing", "orders") in found
    assert len(found) == Consumer.objects.count()
    assert "Still catching up: " in shown.context["headline"]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"read_to": 900}, ["catching up", "position 900 of 4,500, 20 %"]),
        ({"read_to": 4500}, ["catching up", "looks for what came meanwhile"]),
        ({"border": 0}, ["catching up", "looks for what came meanwhile"]),
        ({"caught_up_at": Now()}, ["caught up", "all that was told before"]),
        ({"start": "now", "caught_up_at": Now()}, ["caught up", "nothing from before"]),
        ({"start": "now"}, ["with what is told from then on"]),
        ({}, ["with the first event ever told"]),
    ],
)
def test_a_row_says_in_words_how_far_it_has_come(facts, said):
    row = a_consumer(**facts)

    shown = page()
    for words in said:
        assert words in shown.content.decode()
    record = signed_in("viewer").get(reverse("admin:sagas_consumer_change", args=[row.pk]))
    assert "orders.OrderPlaced" in record.content.decode()


def test_the_headline_names_who_is_late_and_else_says_that_nobody_is():
    a_consumer(caught_up_at=Now())
    assert page().context["headline"].startswith("Each has applied what was told")
    a_consumer(producer="billing", caught_up_at=None)
    assert page().context["headline"] == "Still catching up: fraudwatch with billing."


def test_a_projection_that_no_tick_has_looked_at_is_infinitely_late():
    assert Projection.objects.count() == 0

    found = scrape()
    assert found[figure("concord_projection_lag_seconds", projection=BOARD)] == float("inf")
    assert found[figure("concord_projection_behind", projection=BOARD)] == 0


def test_what_is_told_and_not_in_a_projection_is_seen_in_a_scrape():
    order = place()
    note()
    behind = scrape()[figure("concord_projection_behind", projection=BOARD)]
    assert behind > 0
    lag = figure("concord_projection_lag_seconds", projection=BOARD)
    assert 0 < scrape()[lag] < 60

    spread()
    close(order, "confirmed")
    spread()
    note()
    assert scrape()[figure("concord_projection_behind", projection=BOARD)] == 0


def test_where_no_tick_runs_any_more_the_lag_grows_all_the_same():
    note()
    rows("UPDATE orders_projection SET as_of = as_of - interval '5 minutes'")

    assert grown(scrape()[figure("concord_projection_lag_seconds", projection=BOARD)], 300)


def test_a_scrape_reads_one_row_of_each_projection_whatever_is_behind():
    connection = connection_of("orders")
    with CaptureQueriesContext(connection) as few:
        noted()
    for _ in range(5):
        place()
    with CaptureQueriesContext(connection) as many:
        found = noted()

    assert len(many) == len(few) == len(found)
