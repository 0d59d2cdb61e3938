"""Where a consumer is with an aggregate: one question, and what it answers."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from sagas.models import DeadLetter
from sagas.models.consumer import Consumer
from sagas.outbox import places
from sagas.outbox.dead_letters import Standing
from sagas.outbox.delivery import bring_up_to_date, deliver
from sagas.outbox.places import place_of
from sagas.outbox.starts import border_of
from sagas.transactions import is_detached
from tests.integration.sagas import trial
from tests.integration.sagas.news import Failing, a_teller, listen, position, tell

pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")


def place(teller, *, consumer="billing"):
    return place_of("orders", consumer, teller.aggregate_type, teller.aggregate_id)


def began(start, border, *, consumer="billing"):
    Consumer.objects.filter(consumer=consumer, producer="orders").delete()
    Consumer.objects.create(consumer=consumer, producer="orders", start=start, border=border)


@pytest.fixture(params=[False, True], ids=["one database", "a database of its own"])
def asked(request, monkeypatch):
    """Asks as for a context in the engine's database, and as for one that is elsewhere."""
    if is_detached("billing") and not request.param:
        pytest.skip("its tables are not in the engine's database")
    monkeypatch.setattr(places, "is_detached", lambda _: request.param)


both = pytest.mark.usefixtures("asked")


@both
def test_of_what_was_never_read_it_is_the_beginning():
    began("first", 7)

    assert place(a_teller()) == places.Place(Standing.FREE, 0, 0)


@both
def test_who_listens_from_now_on_reads_nothing_before_the_border():
    began("now", 7)

    assert place(a_teller()).border == 7


@both
def test_who_has_read_anything_has_the_border_behind_it():
    listen()
    teller = a_teller()
    deliver("orders", "billing", tell(teller, "hello"))
    began("now", 7)

    assert place(teller) == places.Place(Standing.FREE, 1, 0)


@both
def test_a_context_that_is_not_written_down_yet_begins_where_it_says():
    Consumer.objects.filter(consumer="billing").delete()

    assert place(a_teller()).border == border_of("billing", "orders")


@both
def test_a_dead_letter_that_waits_holds_the_aggregate_and_one_that_is_due_does_not():
    listen(act=Failing(hello=9))
    teller, other = a_teller(), a_teller()
    deliver("orders", "billing", tell(teller, "hello"))
    letters = DeadLetter.objects.filter(aggregate_id=teller.aggregate_id)

    letters.update(next_at=None)
    assert place(teller).letters is Standing.HELD
    letters.update(next_at=Now() + timedelta(hours=1))
    assert place(teller).letters is Standing.HELD
    letters.update(next_at=Now() - timedelta(hours=1))
    assert place(teller).letters is Standing.DUE
    letters.update(resolved_at=Now())
    assert place(teller).letters is Standing.FREE
    assert place(other).letters is Standing.FREE


@both
def test_what_waits_in_another_context_holds_nobody_here():
    listen(act=Failing(hello=9))
    teller = a_teller()
    deliver("orders", "billing", tell(teller, "hello"))

    assert place(teller, consumer="payments").letters is Standing.FREE


@pytest.mark.colocated
def test_a_single_event_is_applied_with_two_questions_before_its_transaction():
    listen()
    began("first", 0)
    teller = a_teller()
    [event_id] = tell(teller, "hello")
    news = [(teller.aggregate_type, teller.aggregate_id, event_id)]

    with CaptureQueriesContext(connection) as found:
        bring_up_to_date("orders", "billing", news)

    statements = [query["sql"] for query in found.captured_queries]
    assert statements.index("BEGIN") == 2
    assert trial.effects() == ["billing:hello#1"]
    assert position(teller) == 1
