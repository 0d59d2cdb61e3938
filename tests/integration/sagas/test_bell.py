"""Rings that nobody takes: they expire, they come to an end, and somebody says so."""

import pytest
import redis
from django.db import transaction as django_transaction
from django.urls import reverse

from sagas.api import publish, transaction
from sagas.conf import conf
from sagas.contexts import contexts
from sagas.orchestration import canvas
from sagas.orchestration.donekeys import client
from sagas.outbox import bell
from sagas.outbox.relay import relay
from sagas.tasks import relay_outboxes, republish_events
from tests.integration.admin.world import signed_in
from tests.integration.sagas.news import Told, a_teller, listen, tell

pytestmark = pytest.mark.usefixtures("nobody_listens")


def unanswered(seconds):
    """Let the last ring have gone unanswered for so long."""
    client().set(bell.ASKED, "1", ex=bell.ASKED_LIFE - seconds)
    client().delete(bell.KEY.format(context="orders"))


def queues(broker):
    return [message.options["queue"] for message in broker.take()]


def test_a_ring_expires_and_so_does_what_goes_by_its_queue(broker):
    listen()
    tell(a_teller(), "a")
    relay()

    told = {message.task: message.options for message in broker.take()}
    assert told == {
        "sagas.relay": {"queue": "fresh", "expires": bell.EXPIRY},
        "sagas.deliver": {"queue": "fresh", "expires": conf.REPUBLISH_AFTER},
    }


def test_while_somebody_answers_everybody_rings(broker):
    unanswered(bell.PATIENCE - 5)
    bell.ring("orders")
    assert queues(broker) == ["fresh"]

    relay_outboxes("orders")
    assert bell.unanswered_for() == 0


def test_a_tick_that_takes_the_bells_down_is_no_answer(broker):
    bell.ring("orders")
    unanswered(100)

    relay()
    assert bell.unanswered_for() >= 100


def test_where_nobody_has_answered_for_long_nobody_rings_and_events_go_by_the_other_queue(broker):
    listen()
    unanswered(bell.PATIENCE + 5)
    tell(a_teller(), "a")
    assert queues(broker) == []

    assert relay() == 1
    assert queues(broker) == ["events"]


def test_however_many_commits_nobody_answers_rings_do_not_pile_up(settings):
    """On Redis, where what has expired lies until a worker takes it out."""
    unanswered(bell.PATIENCE + 5)
    teller = a_teller()
    for number in range(20):
        tell(teller, str(number))
        client().delete(bell.KEY.format(context="orders"))  # its second is over
    for _ in range(20):
        republish_events()

    assert canvas.depth("fresh") == 1, "the one by which a tick finds out"


def test_who_comes_back_answers_a_tick_and_is_rung_for_again(broker):
    unanswered(bell.PATIENCE + 5)
    republish_events()
    [found] = [message for message in broker.take() if message.task == "sagas.relay"]
    assert found.options["queue"] == "fresh"

    broker.run_chain(found)
    assert bell.unanswered_for() == 0
    tell(a_teller(), "a")
    assert queues(broker) == ["fresh"]


def test_a_tick_does_not_ring_where_somebody_answers(broker):
    republish_events()
    assert queues(broker) == []


def test_a_broker_that_is_away_is_not_held_against_the_workers(celery_without_broker):
    tell(a_teller(), "a")

    assert bell.unanswered_for() == 0


def test_without_redis_everybody_counts_as_heard(monkeypatch, caplog):
    unanswered(bell.PATIENCE + 5)

    def gone():
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(bell, "client", gone)
    assert bell.is_heard()
    bell.try_again()
    assert "bell_unasked" in {record.message for record in caplog.records}


def test_that_nobody_takes_the_queue_is_seen_by_monitoring_and_by_operators(client):
    quiet = signed_in("viewer").get(reverse("admin:index")).content.decode()
    assert "No worker has taken" not in quiet
    assert "concord_fresh_unanswered_seconds 0.0" in client.get("/metrics").content.decode()

    unanswered(180)
    page = signed_in("viewer").get(reverse("admin:index")).content.decode()
    assert "No worker has taken anything from the queue fresh for 3 min" in page
    figures = client.get("/metrics").content.decode()
    assert "concord_fresh_unanswered_seconds 18" in figures


def test_an_event_is_rung_for_although_an_earlier_one_was_rolled_back_to_a_savepoint(
    broker, monkeypatch
):
    rung = []
    teller = a_teller()
    monkeypatch.setattr(bell, "ring", rung.append)
    with transaction("orders"):
        with django_transaction.atomic():  # noqa: TID251 - a savepoint of another project
            publish(Told(text="never"), aggregate=teller)
            django_transaction.set_rollback(True)
        publish(Told(text="told"), aggregate=teller)
        publish(Told(text="told too"), aggregate=teller)

    assert rung == ["orders"]


def test_a_context_that_always_rings_keeps_no_other_from_being_heard(settings):
    settings.RELAY_STREAM = f"{settings.REDIS_URL.partition('?')[0]}/trial-events"
    busy, quiet, *_ = contexts()
    heard = set()
    for _ in range(50):
        bell.ring(busy)
        bell.ring(quiet)
        heard.add(bell.wait_for_stream(contexts(), 0.1))
    assert heard == {busy, quiet}
