"""Two lanes: what was committed just now does not stand behind what has waited for long."""

import itertools
from collections import Counter

import pytest

from orders.models import Outbox
from sagas import failpoints, tasks
from sagas.failpoints import FailpointHit
from sagas.models import DeadLetter
from sagas.orchestration import canvas
from sagas.outbox import bell, delivery
from sagas.outbox.relay import relay
from sagas.transactions import connection_of
from tests.databases import rows
from tests.integration.sagas import trial
from tests.integration.sagas.news import Failing, a_teller, grow_old, listen, position, tell
from tests.integration.sagas.test_relay import delivered
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("nobody_listens")


@pytest.fixture(autouse=True)
def fresh_for_long(monkeypatch):
    """What was committed just now is so however slow the machine is, unless it has grown stale."""
    monkeypatch.setattr("sagas.outbox.relay.FRESH_FOR", 30.0)
    monkeypatch.setattr("sagas.outbox.relay.SPARED", 30.0)


@pytest.fixture(autouse=True)
def small_batches(settings):
    settings.SAGAS = {
        **settings.SAGAS,
        "RELAY_FRESH": 2,
        "RELAY_BATCH": 3,
        "DELIVERY_SIZE": 3,
    }


def lanes(broker):
    """The queue and the event ids of each delivery message, in the order of their sending."""
    return [
        (message.options["queue"], message.args[2])
        for message in broker.take()
        if message.task == "sagas.deliver"
    ]


def test_a_commit_says_whose_outbox_has_news(broker):
    tell(a_teller(), "hello")

    [message] = broker.take()
    assert (message.task, message.args) == ("sagas.relay", ("orders",))


def test_a_context_that_has_rung_does_not_silence_another(broker):
    bell.ring("orders")
    bell.ring("orders")
    bell.ring("billing")

    assert [message.args for message in broker.take()] == [("orders",), ("billing",)]


def grow_stale():
    rows("UPDATE orders_outbox SET created_at = created_at - interval '1 minute'")


def test_who_rings_has_what_is_fresh_go_by_the_quick_lane_and_leaves_the_rest(broker):
    listen()
    tell(a_teller(), *"abcde")
    grow_stale()
    fresh = tell(a_teller(), "y") + tell(a_teller(), "z")
    broker.take()

    assert relay("orders") == 2
    assert lanes(broker) == [("fresh", fresh)]


def test_a_tick_takes_the_oldest_first_and_sends_each_by_its_lane(broker):
    listen()
    old = tell(a_teller(), *"abcd")
    grow_stale()
    fresh = tell(a_teller(), "z")
    broker.take()

    assert relay() == 5
    assert lanes(broker) == [("events", old[:3]), ("events", old[3:]), ("fresh", fresh)]


def test_a_ring_that_finds_few_events_looks_once(broker, django_assert_num_queries):
    listen()
    tell(a_teller(), "hello")

    with django_assert_num_queries(2, connection=connection_of("orders")):  # lease and mark
        assert relay("orders") == 1


def test_a_ring_publishes_nothing_of_other_contexts(broker):
    tell(a_teller(), "hello")

    assert relay("billing") == 0
    assert relay("nowhere") == 0
    assert Outbox.objects.get().published_at is None
    relay()
    assert Outbox.objects.get().published_at is not None


def test_a_fresh_event_brings_the_older_ones_of_its_aggregate_along_in_their_order(broker):
    listen()
    teller = a_teller()
    tell(teller, *"abcd")
    grow_stale()
    tell(teller, "e")
    broker.take()
    relay("orders")
    relay()
    by_lane = {"fresh": [], "events": []}
    for message in broker.take():
        by_lane[message.options["queue"]].append(message)

    for message in by_lane["fresh"]:
        broker.run_chain(message)
    assert trial.effects() == [f"billing:{text}#{n}" for n, text in enumerate("abcde", 1)]
    for message in by_lane["events"]:
        broker.run_chain(message)
    assert len(trial.effects()) == 5, "the old lane finds nothing left"


def test_whichever_lane_is_quicker_an_aggregates_order_is_that_of_its_commits(broker):
    listen()
    tellers = [a_teller() for _ in range(3)]
    for number in range(4):
        for teller in tellers:
            tell(teller, f"{teller.id}/{number}")
        relay("orders")
        for teller in tellers:
            tell(teller, f"{teller.id}/{number}+")
        grow_stale()
        relay()
    messages = [m for m in broker.take() if m.task == "sagas.deliver"]
    fresh = [m for m in messages if m.options["queue"] == "fresh"]
    old = [m for m in messages if m.options["queue"] != "fresh"]
    assert fresh
    shuffled = [m for pair in itertools.zip_longest(reversed(fresh), reversed(old)) for m in pair]

    def work():
        for message in filter(None, shuffled):
            broker.run_chain(message)

    assert raised(together(work, work)) == []
    for teller in tellers:
        assert position(teller) == 8
        heard = [e for e in trial.effects() if str(teller.id) in e]
        assert [int(e.rpartition("#")[2]) for e in heard] == list(range(1, 9))


def test_two_rings_at_once_publish_each_event_once(broker):
    listen()
    ids = [event_id for _ in range(20) for event_id in tell(a_teller(), "hello")]

    counts = together(*[lambda: relay("orders")] * 3)

    assert raised(counts) == []
    relay()
    assert sorted(event_id for _, event_id in delivered(broker)) == sorted(ids)


def test_whoever_answers_a_ring_applies_the_newest_events_without_a_further_message(broker):
    listen()
    tell(a_teller(), "hello")
    [ring] = broker.take()

    broker.run_chain(ring)
    assert trial.effects() == ["billing:hello#1"]
    assert broker.take() == []
    assert Outbox.objects.get().published_at is not None


def test_an_event_that_kills_whoever_answers_the_ring_comes_again_by_a_message(broker, monkeypatch):
    monkeypatch.setattr(failpoints, "_hits", Counter())
    listen()
    [event_id] = tell(a_teller(), "hello")
    [ring] = broker.take()
    monkeypatch.setenv("CONCORD_FAILPOINTS", "deliver.committed=raise:1")
    with pytest.raises(FailpointHit):
        broker.run_chain(ring)
    assert Outbox.objects.get().published_at is None

    grow_old()
    grow_stale()
    broker.drain()
    assert relay() == 1
    assert lanes(broker) == [("events", [event_id])]
    assert trial.effects() == ["billing:hello#1"]


def test_a_handler_that_fails_on_the_spot_is_a_dead_letter_and_the_event_is_marked(broker):
    listen(act=Failing(poison=9))
    tell(a_teller(), "poison")
    [ring] = broker.take()

    broker.run_chain(ring)
    assert DeadLetter.objects.get().attempts == 1
    assert Outbox.objects.get().published_at is not None


def test_what_has_waited_for_long_overtakes_nothing(broker):
    listen()
    ids = tell(a_teller(), *"abc")
    grow_stale()
    broker.take()

    assert relay("orders") == 0
    assert relay() == 3
    assert lanes(broker) == [("events", ids)]


def test_a_delivery_whose_slice_is_spent_sends_the_rest_by_the_lane_it_came_by(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SLICE": 0}
    listen()
    ids = [event_id for _ in range(3) for event_id in tell(a_teller(), "hello")]
    broker.take()

    assert delivery.deliver("orders", "billing", ids, lane="fresh") == 1
    [(queue, rest)] = lanes(broker)
    assert queue == "fresh"
    assert len(rest) == 2
    assert delivery.deliver("orders", "billing", rest) == 2, "nobody has asked for a slice"
    assert len(trial.effects()) == 3


def test_a_delivery_whose_rest_the_broker_does_not_take_goes_on(broker, settings, monkeypatch):
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SLICE": 0}
    listen()
    ids = [event_id for _ in range(3) for event_id in tell(a_teller(), "hello")]
    monkeypatch.setattr(canvas, "publish", lambda *_, **__: False)

    assert delivery.deliver("orders", "billing", ids, lane="events") == 3


def test_a_tick_leaves_an_event_that_was_just_committed_to_its_ring(broker):
    listen()
    tell(a_teller(), "old")
    grow_stale()
    tell(a_teller(), "fresh")
    broker.take()

    tasks.relay_outboxes()
    [(queue, [_])] = lanes(broker)
    assert queue == "events"
    [fresh] = Outbox.objects.filter(published_at=None)
    assert fresh.payload == {"text": "fresh"}
    tasks.relay_outboxes("orders")
    assert trial.effects() == ["billing:fresh#1"]


def test_of_many_fresh_events_each_goes_by_a_message_of_the_quick_lane(broker):
    listen()
    ids = tell(a_teller(), *"abcd")
    [ring] = broker.take()

    broker.run_chain(ring)
    sent = lanes(broker)
    assert {queue for queue, _ in sent} == {"fresh"}
    assert sorted(event_id for _, some in sent for event_id in some) == sorted(ids[1:])
    assert trial.effects()[:1] == ["billing:a#1"], "what was left over was few"


def test_slow_handlers_give_whoever_answers_the_ring_back_after_a_slice(broker, settings):
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SLICE": 0}
    listen()
    ids = [event_id for _ in range(2) for event_id in tell(a_teller(), "hello")]
    [ring] = broker.take()

    broker.run_chain(ring)
    [(queue, [rest])] = lanes(broker)
    assert queue == "fresh"
    assert rest in ids
    assert len(trial.effects()) == 1
    assert not Outbox.objects.filter(published_at=None).exists()


def test_a_ring_asks_a_broker_that_takes_nothing_once(broker, monkeypatch):
    listen()
    for _ in range(9):
        tell(a_teller(), "hello")
    asked = []
    monkeypatch.setattr(canvas, "publish", asked.append)  # which says None: it was not taken

    assert relay("orders") == 0
    assert len(asked) == 1
