"""One event that the exchange for others refuses: counted, set aside, resent or discarded."""

from collections import Counter

import amqp
import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from django.urls import reverse
from kombu.exceptions import EncodeError

from config.invariants.messages import I9_DELIVERY
from orders.models import Outbox
from sagas import failpoints
from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter, OperatorAction, OutsideLease
from sagas.outbox import dead_letters, discarding, exchange, outside
from sagas.outbox.exchange import OUTSIDE
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay
from sagas.transactions import is_detached
from tests.databases import rows
from tests.integration.admin.world import signed_in
from tests.integration.sagas import test_outside
from tests.integration.sagas.news import a_teller, grow_old, outbox, tell
from tests.together import raised, together

on, others, fail_at = test_outside.on, test_outside.others, test_outside.fail_at
pytestmark = pytest.mark.usefixtures("nobody_listens", "broker")


@pytest.fixture
def refused(monkeypatch):
    """Texts that the broker refuses, each with the error it says so by; and what was tried."""
    why, really = {}, exchange._publish

    def publish(producer, document, bound):
        text = document["data"]["text"]
        if text in why:
            raise why[text]
        really(producer, document, bound)

    monkeypatch.setattr(exchange, "_publish", publish)
    return why


def letter():
    return DeadLetter.objects.get(context=OUTSIDE)


def let_delays_be_over():
    rows("UPDATE sagas_outsidelease SET leased_until = clock_timestamp()")
    rows(
        "UPDATE sagas_deadletter SET next_at = clock_timestamp(),"
        " last_at = last_at - interval '1 minute' WHERE next_at IS NOT NULL"
    )


def send():
    let_delays_be_over()
    return outside.send()


def wear_out(settings):
    for _ in range(settings.SAGAS.get("HANDLER_ATTEMPTS", 5)):
        send()
    assert letter().next_at is None


@pytest.fixture
def two(others, refused):
    """Of the first of two aggregates the first event is refused."""
    first, second = a_teller(), a_teller()
    tell(first, "bad", "behind")
    tell(second, "good", "better")
    refused["bad"] = amqp.PreconditionFailed("message size 9 is larger than 8")
    return first, second


def test_the_others_go_on_and_its_aggregate_waits(two, others):
    assert outside.send() == 2

    assert others.texts() == ["good", "better"]
    assert (letter().aggregate_id, letter().sequence, letter().attempts) == (two[0].id, 1, 1)
    assert letter().reason.startswith(
        "the exchange trial.events did not take it: PreconditionFailed: "
    )
    assert letter().reason.endswith("message size 9 is larger than 8")
    assert outside.trouble() == "", "the broker is not away"
    assert outside.send() == 0, "not before the delay is over"
    tell(two[1], "best")
    assert outside.send() == 1
    assert others.texts() == ["best"]


def test_after_the_usual_number_of_attempts_it_waits_for_a_person(
    two, others, settings, client, caplog
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 3}
    wear_out(settings)

    assert (letter().attempts, letter().resolved_at) == (3, None)
    assert send() == 0
    assert letter().attempts == 3, "nobody tries it"
    assert "outside_refused" in {record.message for record in caplog.records}
    figures = client.get("/metrics").content.decode()
    assert 'concord_dead_letters{context="the outside"} 1.0' in figures
    assert 'concord_outside_unpublished{context="orders"} 2.0' in figures
    page = signed_in("viewer").get(reverse("admin:sagas_deadletter_change", args=[letter().id]))
    assert "the outside failed 3 times" in page.content.decode()


def test_where_nothing_but_what_is_set_aside_waits_the_broker_is_left_alone(two, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    outside.send()
    before = OutsideLease.objects.get().changed_at
    assert outside.send() == 0
    assert OutsideLease.objects.get().changed_at == before


def test_resent_it_goes_out_with_what_waits_behind_it_in_their_order(
    two, others, refused, settings, broker
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    outside.send()
    others.texts()
    refused.clear()
    broker.take()

    assert dead_letters.resend(letter().id, by="alice", reason="the broker takes more now")
    assert [message.task for message in broker.take()] == ["sagas.send_outside"]
    assert outside.send() == 2
    assert others.texts() == ["bad", "behind"]
    outside.send()
    assert letter().resolved_at is not None
    assert OperatorAction.objects.get().outcome == "done"
    assert not dead_letters.resend(letter().id, by="bob", reason="once more")
    assert test_outside.due() == 0


def test_resent_in_vain_it_is_counted_from_one(two, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2}
    wear_out(settings)
    assert dead_letters.resend(letter().id, by="alice", reason="perhaps")

    send()
    assert (letter().attempts, letter().next_at is None) == (1, False)
    send()
    assert (letter().attempts, letter().next_at) == (2, None)


def test_discarded_it_stays_here_and_what_is_behind_it_goes_out(two, others, settings, broker):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    outside.send()
    others.texts()
    broker.take()

    assert discarding.discard(letter().id, by="alice", reason="nobody needs it")
    assert [message.task for message in broker.take()] == ["sagas.send_outside"]
    assert outside.send() == 1
    assert others.texts() == ["behind"]
    first = outbox().first()
    assert (first.outside_due, first.outside_at) == (False, None)
    assert letter().resolved_at is not None
    assert not discarding.discard(letter().id, by="bob", reason="again")
    assert sorted(OperatorAction.objects.values_list("outcome", flat=True)) == ["done", "refused"]


def test_one_that_has_got_outside_in_the_meantime_cannot_be_discarded(two, others, refused):
    outside.send()
    refused.clear()
    key = letter().id
    assert send() == 2

    assert not discarding.discard(key, by="alice", reason="too late")
    assert outbox().first().outside_at is not None


@pytest.mark.skipif("not __import__('django.conf').conf.settings.CONTEXT_DATABASES")
def test_a_discard_that_dies_between_its_two_commits_can_be_pressed_again(
    two, others, settings, monkeypatch
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    assert is_detached("orders")
    outside.send()
    hits = []

    def dying(name, at=""):
        hits.append(name)
        if len(hits) == 2:
            raise FailpointHit(name)

    with monkeypatch.context() as broken:
        broken.setattr(discarding, "failpoint", dying)
        with pytest.raises(FailpointHit):
            discarding.discard(letter().id, by="alice", reason="nobody needs it")
    assert (letter().resolved_at, outbox().first().outside_due) == (None, False)

    assert discarding.discard(letter().id, by="alice", reason="nobody needs it")
    assert letter().resolved_at is not None


# -- who says no, and who is away ------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        amqp.PreconditionFailed("too large"),
        amqp.ContentTooLarge("too large"),
        amqp.exceptions.MessageNacked(),
        amqp.FrameSyntaxError("a header that nobody can write"),
        redis.DataError("Invalid input of type"),
        EncodeError("no text"),
        TypeError("not JSON serializable"),
        UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_about_one_event_is_its_own(two, refused, others, error):
    refused["bad"] = error

    assert outside.send() == 2
    assert (letter().attempts, outside.trouble()) == (1, "")
    assert type(error).__name__ in letter().reason
    assert "Traceback" in letter().traceback


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("gone"),
        TimeoutError("no answer"),
        amqp.AccessRefused("no right to write"),
        amqp.NotFound("no exchange"),
        redis.ResponseError("OOM command not allowed"),
        redis.ConnectionError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_about_the_broker_is_no_events(two, refused, error):
    refused["bad"] = error

    assert outside.send() == 0
    assert not DeadLetter.objects.exists()
    assert type(error).__name__ in outside.trouble()


def test_a_task_whose_time_is_up_blames_no_event(two, refused):
    refused["bad"] = SoftTimeLimitExceeded()

    with pytest.raises(SoftTimeLimitExceeded):
        outside.send()
    assert not DeadLetter.objects.exists()


def test_an_event_that_is_too_large_is_not_even_tried(others, settings):
    settings.SAGAS = {**settings.SAGAS, "OUTSIDE_BYTES": 1024}
    tell(a_teller(), "x" * 2000)
    tell(a_teller(), "small")

    assert outside.send() == 1
    assert others.texts() == ["small"]
    assert "TooLarge: " in letter().reason
    assert "bytes, and OUTSIDE_BYTES allows 1024" in letter().reason


def test_a_broker_that_goes_away_after_it_refused_one_has_that_one_counted(two, refused):
    refused["good"] = ConnectionResetError("gone")

    assert outside.send() == 0
    assert letter().attempts == 1
    assert "ConnectionResetError" in outside.trouble()


def test_after_a_refusal_the_next_event_goes_by_a_new_channel(two, others, monkeypatch):
    """RabbitMQ closes the channel by which it refuses."""
    channels, really = [], exchange._publish

    def publish(producer, document, bound):
        channels.append(producer.channel)
        really(producer, document, bound)

    monkeypatch.setattr(exchange, "_publish", publish)
    outside.send()

    bad, good, better = channels
    assert bad is not good
    assert good is better


# -- dying, late, at once --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "counted"),
    [
        ("outside.published", 0),
        ("outside.committed", 0),
        ("letter.before_commit", 0),
        ("letter.committed", 1),
    ],
)
def test_a_sender_that_dies_over_a_refusal_sends_nothing_out_of_order(
    two, others, monkeypatch, refused, place, counted
):
    monkeypatch.setattr(failpoints, "_hits", Counter())
    monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place}=raise:1")
    with pytest.raises(FailpointHit):
        outside.send()
    assert DeadLetter.objects.count() == counted

    send()
    assert letter().attempts == counted + 1
    refused.clear()
    send()
    seen = list(dict.fromkeys(others.texts()))
    assert sorted(seen) == ["bad", "behind", "better", "good"]
    assert seen.index("bad") < seen.index("behind")
    assert seen.index("good") < seen.index("better")


def test_a_sender_that_dies_when_it_got_through_has_its_letter_closed_by_the_next(
    two, refused, monkeypatch
):
    outside.send()
    refused.clear()
    let_delays_be_over()
    monkeypatch.setattr(failpoints, "_hits", Counter())
    monkeypatch.setenv("CONCORD_FAILPOINTS", "outside.committed=raise:1")
    with pytest.raises(FailpointHit):
        outside.send()
    assert (letter().resolved_at, test_outside.due()) == (None, 0)

    outside.send()
    assert letter().resolved_at is not None


def test_two_senders_at_once_count_one_attempt_and_send_nothing_out_of_order(two, others):
    let_delays_be_over()
    ends = together(*[outside.send] * 2)

    assert raised(ends) == []
    assert letter().attempts == 1
    assert others.texts() == ["good", "better"]


def test_a_sender_that_froze_and_thaws_sends_what_was_held_before_what_is_behind_it(
    two, others, refused, monkeypatch
):
    """It read the event before the other one was refused it, and gets it through."""
    really, frozen = exchange._publish, []

    def freezing(producer, document, bound):
        if document["data"]["text"] == "bad" and not frozen:
            frozen.append(True)
            assert send() == 2
            assert letter().attempts == 1
            refused.clear()
        really(producer, document, bound)

    monkeypatch.setattr(exchange, "_publish", freezing)
    outside.send()

    seen = list(dict.fromkeys(others.texts()))
    assert seen.index("bad") < seen.index("behind")
    send()
    assert letter().resolved_at is not None


def test_what_was_discarded_stays_discarded_when_a_sender_that_froze_over_its_refusal_thaws(
    two, others, refused, settings, monkeypatch
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    really, frozen = exchange._publish, []

    def freezing(producer, document, bound):
        if document["data"]["text"] == "bad" and not frozen:
            frozen.append(True)
            assert send() == 2
            assert discarding.discard(letter().id, by="alice", reason="too large")
            assert letter().resolved_at is not None
        really(producer, document, bound)

    monkeypatch.setattr(exchange, "_publish", freezing)
    outside.send()
    assert (letter().resolved_at, letter().next_at) == (None, None)

    send()
    assert letter().resolved_at is not None
    assert "behind" in others.texts()


def test_what_was_refused_is_not_pruned_and_is_not_delivered_as_ours(two, broker):
    outside.send()
    relay()
    broker.take()
    grow_old(86_400 * 31)

    assert dead_letters.retry_due() == 0
    prune()
    kept = Outbox.objects.order_by("position").values_list("payload__text", flat=True)
    assert list(kept) == ["bad", "behind"]


def test_a_letter_of_the_outside_hides_nothing_from_the_invariants():
    [part] = [part for part in I9_DELIVERY.parts if "applied by all" in part.says]
    assert f"d.context <> '{OUTSIDE}'" in part.violations
