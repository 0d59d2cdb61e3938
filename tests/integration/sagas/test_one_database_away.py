"""Ticks that go through the contexts, one of which has lost its database."""

from types import SimpleNamespace

import pytest
from django.db import OperationalError

from sagas import tasks
from sagas.choreography import beginning, watchdog
from sagas.contexts import contexts
from sagas.management import streaming as feeding
from sagas.management import tailing
from sagas.models import Consumer
from sagas.outbox import (
    bell,
    catching_up,
    dead_letters,
    outside,
    past,
    pruning,
    relay,
    slots,
    starts,
    stream,
    streaming,
    subscriptions,
)
from sagas.outbox import republish as republishing
from sagas.outbox.delivery import deliver
from sagas.outbox.republish import republish
from sagas.outbox.subscriptions import Subscription
from sagas.projections import lag
from sagas.projections.declaring import PROJECTIONS
from tests.integration.sagas import test_outside, trial
from tests.integration.sagas.news import (
    Told,
    ToldSeen,
    Whispered,
    a_teller,
    grow_old,
    listen,
    outbox,
    position,
    tell,
)

on, others = test_outside.on, test_outside.others
pytestmark = pytest.mark.usefixtures("broker", "nobody_listens")


def gone(*_, **__):
    raise OperationalError("connection refused")


@pytest.fixture
def first_away(monkeypatch):
    """Let the database of whom a function is asked first have gone; return who is asked."""

    def take(module, name, after=lambda *_, **__: []):
        asked = []

        def act(of, *words, **options):
            asked.append(of)
            return gone() if len(asked) == 1 else after(of, *words, **options)

        monkeypatch.setattr(module, name, act)
        return asked

    return take


def test_the_relay_goes_on_with_other_contexts(first_away):
    asked = first_away(relay, "_lease")
    with pytest.raises(OperationalError):
        relay.relay()
    assert asked == list(contexts())


def test_the_relay_goes_on_where_a_consumer_cannot_be_written_down(monkeypatch):
    listen()
    [event_id] = tell(a_teller(), "a")
    monkeypatch.setattr(starts, "begin_new", gone)
    with pytest.raises(OperationalError):
        relay.relay()
    assert outbox(event_id=event_id).published_at is not None


def begun():
    return sorted(Consumer.objects.values_list("consumer", "producer"))


def test_others_begin_where_one_producer_has_lost_its_database(first_away):
    listen("billing")
    listen("payments")
    first_away(past, "last_position", past.last_position)
    with pytest.raises(OperationalError):
        starts.begin_new()
    assert begun() == [("payments", "orders")]


def test_a_consumer_of_now_begins_where_another_producer_has_lost_its_database(monkeypatch):
    listen("billing", event="payments.PaymentCaptured")
    one = Subscription(
        event=Told.name,
        version=1,
        context="billing",
        payload=ToldSeen,
        handler=lambda _: None,
        start="now",
    )
    subscriptions.subscribe(one)
    position_of = past.last_position
    monkeypatch.setattr(
        past, "last_position", lambda of: gone() if of == "payments" else position_of(of)
    )
    tell(a_teller(), "before")
    assert starts.border_of("billing", "orders") == position_of("orders") > 0
    assert begun() == [("billing", "orders")]


def test_other_flows_begin_where_one_producer_has_lost_its_database(first_away, monkeypatch):
    flows = {name: SimpleNamespace(name=name) for name in ("one", "two")}
    monkeypatch.setattr(beginning, "FLOWS", flows)
    asked = first_away(beginning, "_begin")
    with pytest.raises(OperationalError):
        beginning.begin_new()
    assert asked == list(flows.values())


@pytest.fixture
def two_pasts():
    """Two consumers that have a past to read."""
    listen("billing")
    listen("payments")
    tell(a_teller(), "a")
    starts.begin_new()


def test_a_past_is_read_where_another_consumer_has_lost_its_database(two_pasts, first_away):
    asked = first_away(catching_up, "_behind", catching_up._behind)
    with pytest.raises(OperationalError):
        catching_up.catch_up(30.0)
    assert len({row.consumer for row in asked}) == 2
    assert len(trial.effects()) == 1


def test_a_past_is_read_where_a_consumer_cannot_be_written_down(two_pasts, monkeypatch):
    monkeypatch.setattr(starts, "begin_new", gone)
    with pytest.raises(OperationalError):
        catching_up.catch_up(30.0)
    assert len(trial.effects()) == 2


def test_a_tick_that_has_met_trouble_lets_others_and_rings_for_the_rest(
    two_pasts, broker, first_away, monkeypatch
):
    broker.take()
    monkeypatch.setattr(catching_up, "SLICE", 0)
    first_away(catching_up, "_catch_up", lambda *_: (1, False))
    with pytest.raises(OperationalError):
        catching_up.tick()
    assert [message.task for message in broker.take()] == ["sagas.catch_up"]
    assert catching_up.alone.client().get(catching_up.KEY) is None


def test_other_flows_are_looked_after(first_away, monkeypatch):
    monkeypatch.setattr(watchdog, "claim", iter(["one", "two", None]).__next__)
    asked = first_away(watchdog, "look_after")
    with pytest.raises(OperationalError):
        watchdog.watch()
    assert asked == ["one", "two"]


def test_a_database_that_takes_long_to_be_away_is_not_waited_for_by_each_flow(
    first_away, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "WATCH_INTERVAL": 0}
    monkeypatch.setattr(watchdog, "claim", iter(["one", "two", None]).__next__)
    asked = first_away(watchdog, "look_after")
    with pytest.raises(OperationalError):
        watchdog.watch()
    assert asked == ["one"]


def test_how_fresh_other_read_models_are_is_noted(first_away, monkeypatch):
    noted = []
    monkeypatch.setattr(lag, "_note", lambda context, _: noted.append(context))
    asked = first_away(lag, "lag_of")
    with pytest.raises(OperationalError):
        lag.note()
    assert len(asked) == len(PROJECTIONS) > 1
    assert len(noted) == len(PROJECTIONS) - 1


def test_what_was_published_is_marked_also_where_nobody_says_who_listens(
    broker, monkeypatch, caplog
):
    listen()
    teller = a_teller()
    [heard] = tell(teller, "a")
    [unheard] = tell(teller, "b", event=Whispered)
    with monkeypatch.context() as away:
        away.setattr(starts, "end_old", gone)
        relay.relay()
        assert broker.take() != []
        assert outbox(event_id=heard).published_at is not None
        assert "listeners_unasked" in caplog.text

        deliver("orders", "billing", [heard])
        grow_old()
        with pytest.raises(OperationalError):
            republish()
    assert outbox(event_id=unheard).settled_at is None
    republish()
    assert outbox(event_id=unheard).settled_at is not None


def test_the_comparison_goes_on_with_other_producers_and_what_waits_for_its_delay(
    first_away, monkeypatch
):
    retried = []
    monkeypatch.setattr(dead_letters, "retry_due", lambda: retried.append(1) or 0)
    asked = first_away(republishing, "_unsettled")
    with pytest.raises(OperationalError):
        republish()
    assert (asked, retried) == (list(contexts()), [1])


def test_the_comparison_goes_on_where_a_consumer_has_lost_its_database(broker, first_away):
    listen("billing")
    listen("payments")
    teller = a_teller()
    [event_id] = tell(teller, "a")
    relay.relay()
    broker.take()
    deliver("orders", "billing", [event_id])
    grow_old()

    positions_of = republishing.positions_of
    asked = first_away(republishing, "positions_of", positions_of)
    with pytest.raises(OperationalError):
        republish()
    assert asked == ["billing", "payments"]
    broker.drain()
    assert position(teller, "payments") == 1

    first_away(republishing, "positions_of", positions_of)
    with pytest.raises(OperationalError):
        republish()
    assert outbox(event_id=event_id).settled_at is None, "nobody knows what billing has applied"
    republish()
    assert outbox(event_id=event_id).settled_at is not None


def test_a_slot_above_its_ceiling_is_dropped_also_where_another_database_is_away(
    first_away, monkeypatch
):
    dropped = []
    full = slots.Tail(
        alias="b", is_wanted=False, note="", has_slot=True, is_lost=False, retained=1 << 50
    )
    monkeypatch.setattr(slots, "databases", lambda: {"a": ("orders",), "b": ("billing",)})
    first_away(slots, "look", lambda _: full)
    monkeypatch.setattr(slots, "drop_slot", lambda alias: dropped.append(alias) or False)
    with pytest.raises(OperationalError):
        slots.watch()
    assert dropped == ["b"]


def test_the_stream_is_given_what_others_have_told(first_away, monkeypatch):
    monkeypatch.setattr(stream, "address", lambda: "redis://")
    asked = first_away(streaming, "send")
    with pytest.raises(OperationalError):
        streaming.answer()
    assert asked == list(contexts())


def test_what_others_have_told_gets_outside(others, first_away, monkeypatch):
    tell(a_teller(), "a")
    asked = first_away(outside, "_due", outside._due)
    monkeypatch.setattr(outside, "contexts", lambda: ("billing", "orders"))
    with pytest.raises(OperationalError):
        outside.send()
    assert asked[:2] == ["billing", "orders"]
    assert others.texts() == ["a"]


def test_what_is_old_is_deleted_of_others(first_away, monkeypatch):
    monkeypatch.setattr(catching_up, "catch_up", gone)
    asked = first_away(pruning, "keep_missed")
    with pytest.raises(OperationalError):
        pruning.prune()
    assert sorted(asked) == sorted(contexts())


def test_a_run_of_pruning_that_has_met_trouble_lets_others_and_rings_for_the_rest(
    broker, first_away, monkeypatch, settings
):
    broker.take()
    settings.SAGAS = {**settings.SAGAS, "STEP_TIMEOUT": 0}
    monkeypatch.setattr(pruning, "BATCH", 1)
    monkeypatch.setattr(pruning, "_prune_batch", lambda *_: 1)
    first_away(pruning, "keep_missed")
    with pytest.raises(OperationalError):
        pruning.tick()
    assert [message.task for message in broker.take()] == ["sagas.prune"]
    assert catching_up.alone.client().get(pruning.KEY) is None


@pytest.fixture
def tailed(monkeypatch):
    """A process that tails two databases: what it finds in each is said by a function."""
    monkeypatch.setattr(slots, "databases", lambda: {"default": ("orders",), "b": ("billing",)})
    asked = []

    def finding(found):
        def tail(alias):
            asked.append(alias)
            assert len(asked) < 20, "no end to it"
            return found(alias)

        monkeypatch.setattr(tailing.tailing, "tail", tail)
        return asked, tailing.Tailing(print)

    return finding


def test_other_databases_are_tailed(tailed):
    asked, process = tailed(lambda alias: gone() if alias == "default" else 0)
    process._round()
    process._round()
    assert asked == ["default", "b", "b"], "what is away is asked again after a pause"


def test_what_was_away_is_tailed_again(tailed, monkeypatch):
    monkeypatch.setattr(tailing, "PAUSE", 0.0)
    asked, process = tailed(lambda alias: gone() if alias == "default" else 0)
    process._round()
    process._round()
    assert asked == ["default", "b"] * 2


def test_a_database_that_always_has_news_keeps_no_other_from_being_tailed(tailed):
    asked, process = tailed(lambda alias: int(alias == "default"))
    for _ in range(3):
        assert process._round()
    assert asked == ["default", "b"] * 3


@pytest.fixture
def feeder(monkeypatch):
    """A process that feeds the stream: what it brings there of each context is said."""
    monkeypatch.setattr(stream, "address", lambda: "redis://")
    asked = []

    def bringing(sent):
        def send_batch(context):
            asked.append(context)
            assert len(asked) < 1000, "no end to it"
            return sent(context)

        monkeypatch.setattr(streaming, "send_batch", send_batch)
        process = feeding.Streaming(print)
        return asked, lambda: process._send(process.contexts)

    return bringing


def test_a_process_feeds_the_stream_with_what_others_have_told(feeder):
    asked, send = feeder(lambda context: gone() if context == contexts()[0] else 0)
    assert send() == send() == {contexts()[0]}
    assert asked == [*contexts(), *contexts()[1:]], "what is away is asked again after a pause"


def test_a_process_feeds_the_stream_with_what_was_away(feeder, monkeypatch):
    monkeypatch.setattr(feeding, "PAUSE", 0.0)
    asked, send = feeder(lambda context: gone() if context == contexts()[0] else 0)
    send()
    send()
    assert asked == [*contexts()] * 2


def test_a_context_that_always_has_news_keeps_no_other_from_the_stream(feeder):
    asked, send = feeder(lambda context: int(context == contexts()[0]))
    assert send() == {contexts()[0]}
    assert set(asked) == set(contexts())


@pytest.mark.parametrize(
    ("task", "acts"),
    [
        ("relay_outboxes", [(relay, "relay"), (streaming, "answer"), (dead_letters, "retry_due")]),
        ("republish_events", [(republishing, "republish"), (bell, "try_again"), (lag, "note")]),
    ],
)
def test_a_task_does_the_rest_of_its_work(monkeypatch, task, acts):
    done = []

    def act(name):
        done.append(name)
        gone()

    for module, name in acts:
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: act(name))
    with pytest.raises(OperationalError):
        getattr(tasks, task)()
    assert done == [name for _, name in acts]


def test_what_is_no_databases_fault_is_raised_at_once(monkeypatch):
    asked = []

    def act(context, **_):
        asked.append(context)
        raise ZeroDivisionError

    monkeypatch.setattr(relay, "_lease", act)
    with pytest.raises(ZeroDivisionError):
        relay.relay()
    assert len(asked) == 1
