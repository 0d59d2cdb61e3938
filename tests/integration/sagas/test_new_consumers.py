"""A context that begins to listen long after the first event, and nobody who tells knows of it."""

import importlib
import sys
import threading
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from uuid import UUID

import pytest
import redis
from django.apps import apps
from django.conf import settings as project
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import override_settings

from config import roles
from orders.models import Customer, Outbox
from payments.events import PaymentAuthorized, PaymentCaptured
from payments.models import Payment
from sagas import clock as clocks
from sagas import failpoints, tasks
from sagas.admin.dead_letters import DiscardDeadLetter
from sagas.api import InvalidDefinition, clock, on, publish, transaction
from sagas.conf import conf
from sagas.failpoints import FailpointHit
from sagas.ids import uuid7
from sagas.models import Consumer, DeadLetter
from sagas.orchestration import canvas
from sagas.outbox import catching_up, delivery, lag, past, reading, starts, subscriptions
from sagas.outbox.catching_up import catch_up
from sagas.outbox.dead_letters import resend, retry_due
from sagas.outbox.delivery import deliver
from sagas.outbox.discarding import discard
from sagas.outbox.pruning import prune
from sagas.outbox.relay import relay, relay_batch
from sagas.outbox.republish import republish
from sagas.outbox.starts import begin_new, border_of
from sagas.transactions import ENGINE
from tests.factories import a_method
from tests.integration.orders.board import close, place, spread
from tests.integration.sagas.news import Told, ToldSeen, Whispered, a_teller, grow_old, tell
from tests.processes import eventually
from tests.together import raised, together

pytestmark = pytest.mark.usefixtures("committed_db", "no_broker")
LONG = 30.0
IMPATIENT = catching_up.PATIENCE


@pytest.fixture
def no_broker(monkeypatch):
    """Messages are sent, and nobody takes them."""
    monkeypatch.setattr(canvas, "publish", lambda _: True)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A transaction of whomever, such as an autovacuum's, is waited for until it ends."""
    monkeypatch.setattr(catching_up, "PATIENCE", LONG)


@contextmanager
def installed(name, monkeypatch):
    """The app among the installed ones, with its tables and role; nothing else is changed."""
    listening = {event: list(found) for event, found in subscriptions.SUBSCRIPTIONS.items()}
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", listening)
    sys.modules.pop(f"tests.consumers.{name}.handlers", None)
    try:
        with override_settings(
            INSTALLED_APPS=[*project.INSTALLED_APPS, f"tests.consumers.{name}"],
            CONTEXTS=(*project.CONTEXTS, name),
            SCHEMAS={**project.SCHEMAS, name: name},
            SEARCH_PATH=(*project.SEARCH_PATH, name),
        ):
            models = list(apps.get_app_config(name).get_models())
            with connection.schema_editor() as editor:
                for model in models:
                    editor.create_model(model)
            roles.set_session_defaults(connection)
            if roles.create_roles(connection):
                roles.grant_privileges(connection)
            try:
                yield importlib.import_module(f"tests.consumers.{name}.models").Heard.objects
            finally:
                with connection.schema_editor() as editor:
                    for model in models:
                        editor.delete_model(model)
                    editor.execute(f"DROP SCHEMA {name}")
    finally:
        roles.set_session_defaults(connection)


@pytest.fixture
def fraudwatch(monkeypatch):
    """Begins with the first event; what it heard."""
    with installed("fraudwatch", monkeypatch) as heard:
        yield heard


@pytest.fixture
def latewatch(monkeypatch):
    """Begins with what is told from now on; what it heard."""
    with installed("latewatch", monkeypatch) as heard:
        yield heard


@pytest.fixture
def fail_at(monkeypatch):
    """Arms one place in this process, for its first pass."""
    monkeypatch.setattr(failpoints, "_hits", Counter())
    return lambda place_: monkeypatch.setenv("CONCORD_FAILPOINTS", f"{place_}=raise:1")


def pay(order):
    """Money for an order, held and then taken."""
    facts = {
        "purpose": "order",
        "purpose_id": order.id,
        "customer_id": order.customer_id,
        "amount": 500,
        "currency": "GBP",
    }
    method = a_method(order.customer)
    with transaction("payments"):
        payment = Payment.objects.create(id=order.payment_id, method_id=method, **facts)
        known = {"payment_id": payment.id, "provider_ref": "pi_1", **facts}
        publish(PaymentAuthorized(**known), aggregate=payment)
        publish(PaymentCaptured(**known, captured_at=clock.now()), aggregate=payment)


def trade(count=1):
    """Orders with their payments, told of and settled long ago."""
    orders = [place() for _ in range(count)]
    for order in orders:
        pay(order)
        close(order, "confirmed")
    return orders


def settle():
    """Everybody who listens has applied everything, and it is settled."""
    relay()
    spread()
    grow_old()
    republish()


def streams(heard):
    """The numbers that were heard of each aggregate, in the order in which they were."""
    found = defaultdict(list)
    for one in heard.order_by("id"):
        found[one.aggregate].append(one.sequence)
    return dict(found)


def bring_news(consumer):
    for producer, outbox in (("orders", Outbox), ("payments", apps.get_model("payments.Outbox"))):
        told = outbox.objects.order_by("position")
        ids = [str(one) for one in told.values_list("id", flat=True)]
        deliver(producer, consumer, ids)


# -- from the first event on -----------------------------------------------------------------------


def test_a_consumer_added_later_hears_every_event_from_the_first_one_on(no_broker, monkeypatch):
    orders = trade(3)
    settle()
    assert not Outbox.objects.filter(settled_at=None).exists()

    with installed("fraudwatch", monkeypatch) as heard:
        assert catch_up(LONG) == 12
        assert streams(heard) == {
            **{order.id: [1, 2] for order in orders},
            **{order.payment_id: [1, 2] for order in orders},
        }
        assert catch_up(LONG) == 0


def test_after_the_past_it_goes_on_with_what_is_told_now(fraudwatch):
    [old] = trade()
    settle()
    catch_up(LONG)

    [new] = trade()
    bring_news("fraudwatch")
    assert streams(fraudwatch)[old.id] == [1, 2]
    assert streams(fraudwatch)[new.id] == [1, 2]
    assert streams(fraudwatch)[new.payment_id] == [1, 2]


def test_what_the_outbox_has_pruned_is_heard_from_the_history(no_broker, monkeypatch):
    orders = trade(2)
    settle()
    grow_old(90 * 86_400.0)
    prune()
    assert not Outbox.objects.exists()

    with installed("fraudwatch", monkeypatch) as heard:
        assert catch_up(LONG) == 8
        assert all(streams(heard)[order.id] == [1, 2] for order in orders)
        assert all(streams(heard)[order.payment_id] == [1, 2] for order in orders)


def test_an_order_half_of_which_is_pruned_is_heard_from_its_first_event_on(no_broker, monkeypatch):
    order = place()
    settle()
    grow_old(90 * 86_400.0)
    prune()
    close(order, "canceled")

    with installed("fraudwatch", monkeypatch) as heard:
        bring_news("fraudwatch")
        assert streams(heard) == {order.id: [1, 2]}


def test_news_of_an_old_order_brings_all_that_came_before_it(fraudwatch):
    order = place()
    settle()
    close(order, "canceled")

    bring_news("fraudwatch")
    assert streams(fraudwatch) == {order.id: [1, 2]}
    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1, 2]}


def test_events_that_it_does_not_listen_to_leave_no_hole(fraudwatch):
    order = place()
    close(order, "failed")  # nobody there hears of it
    again = place()
    settle()

    catch_up(LONG)
    bring_news("fraudwatch")
    assert streams(fraudwatch) == {order.id: [1], again.id: [1]}


@pytest.mark.parametrize("page", [1, 2, 500])
def test_however_small_its_pages_nothing_is_missing_or_double(fraudwatch, monkeypatch, page):
    monkeypatch.setattr(catching_up, "PAGE", page)
    orders = trade(3)
    settle()

    catch_up(LONG)
    assert all(streams(fraudwatch)[order.id] == [1, 2] for order in orders)
    assert fraudwatch.count() == 12


def test_what_is_told_while_it_catches_up_is_heard_once_and_in_order(fraudwatch, monkeypatch):
    monkeypatch.setattr(catching_up, "PAGE", 3)
    orders = trade(6)
    settle()
    over = threading.Event()
    later = []

    def go_on():
        for _ in range(10):
            later.extend(trade())
            bring_news("fraudwatch")
        over.set()

    def look_back():
        while not over.is_set():
            catch_up(LONG)
        catch_up(LONG)

    assert raised(together(go_on, look_back, look_back)) == []
    found = streams(fraudwatch)
    for order in [*orders, *later]:
        assert found[order.id] == [1, 2]
        assert found[order.payment_id] == [1, 2]


def test_a_tick_whose_time_is_up_leaves_the_rest_of_its_page_to_the_next(fraudwatch, settings):
    settings.SAGAS = {**settings.SAGAS, "DELIVERY_SIZE": 1}
    orders = trade(3)
    settle()
    replace_handler("orders.OrderPlaced", lambda _: threading.Event().wait(0.2))

    of_orders = fraudwatch.filter(aggregate__in=[order.id for order in orders])
    while not of_orders.exists():  # the payments may come first, and take all the time there is
        catch_up(0.2)
    assert of_orders.count() == 2
    catch_up(LONG)
    assert all(streams(fraudwatch)[order.id] == [1, 2] for order in orders)
    assert fraudwatch.count() == 12


def test_a_long_past_leaves_the_workers_most_of_the_time_between_two_ticks(settings, monkeypatch):
    given = []
    monkeypatch.setattr(
        catching_up, "_catch_up_all", lambda time, _: (given.append(time) or 0, False)
    )
    tasks.catch_up()

    schedule = settings.CELERY_BEAT_SCHEDULE["sagas.catch_up"]["schedule"]
    assert given[0] < schedule.total_seconds() / 2


def test_two_workers_that_catch_up_at_once_apply_each_event_once(fraudwatch, monkeypatch):
    monkeypatch.setattr(catching_up, "PAGE", 2)
    orders = trade(4)
    settle()

    assert raised(together(*[lambda: catch_up(LONG)] * 3)) == []
    catch_up(LONG)
    assert all(streams(fraudwatch)[order.id] == [1, 2] for order in orders)


@pytest.mark.parametrize(
    ("applied", "took", "sent"),
    [(5, 1.0, ["sagas.catch_up"]), (5, 0.1, []), (0, 1.0, [])],
    ids=["the slice is spent", "nothing is left", "nothing can be done"],
)
def test_a_tick_whose_slice_is_spent_leaves_the_rest_to_a_message(
    committed_db, monkeypatch, applied, took, sent
):
    told = []
    monkeypatch.setattr(canvas, "publish", lambda message: told.append(message.task) or True)
    monkeypatch.setattr(catching_up, "_catch_up_all", lambda *_: (applied, False))
    clock_of_ticks = iter([0.0, took])
    monkeypatch.setattr(catching_up, "time", SimpleNamespace(monotonic=clock_of_ticks.__next__))

    catching_up.tick()
    assert told == sent


@pytest.fixture
def long_past(fraudwatch, monkeypatch):
    """Two orders with much between them that the watch does not hear, read in small slices."""
    begin_new()
    Consumer.objects.exclude(consumer="fraudwatch", producer="orders").delete()
    monkeypatch.setattr(starts, "begin_new", lambda: None)
    before = past.last_position("orders")
    first = place()
    tell(a_teller(), *"abcdefgh", event=Whispered)
    second = place()
    Consumer.objects.update(read_to=before, border=past.last_position("orders"))
    monkeypatch.setattr(past, "SLICE", 3)
    return first, second


def test_no_statement_goes_through_all_of_a_long_past(long_past, fraudwatch, monkeypatch):
    spans = []
    events_of = past.events_of

    def watched(context, after, *, upto, **told):
        spans.append(upto - after)
        return events_of(context, after, upto=upto, **told)

    monkeypatch.setattr(past, "events_of", watched)
    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1] for order in long_past}
    assert max(spans) == 3
    assert Consumer.objects.get().read_to == past.last_position("orders")


def test_a_tick_that_has_gone_through_what_nobody_hears_leaves_the_rest_to_a_message_too(
    long_past, fraudwatch, monkeypatch
):
    told = []
    monkeypatch.setattr(canvas, "publish", lambda message: told.append(message.task) or True)
    slow = SimpleNamespace(monotonic=count(0.0, 0.15).__next__)
    monkeypatch.setattr(catching_up, "time", slow)
    ticks, expected = 0, past.last_position("orders")
    while len(told) == ticks and ticks < 10:
        catching_up.tick()
        ticks += 1

    assert Consumer.objects.get().read_to == expected
    assert streams(fraudwatch) == {order.id: [1] for order in long_past}
    assert ticks > 3


def test_what_is_to_come_is_counted_as_far_as_some_slices_go(long_past, monkeypatch):
    first, second = Outbox.objects.filter(type="orders.OrderPlaced").order_by("position")
    assert starts.to_come("fraudwatch", "orders") == (2, first.occurred_at)

    monkeypatch.setattr(starts, "COUNTED", 1)
    assert starts.to_come("fraudwatch", "orders") == (1, first.occurred_at)
    Consumer.objects.update(read_to=first.position)
    behind = Outbox.objects.filter(position__gt=first.position + 3).earliest("position")
    assert starts.to_come("fraudwatch", "orders") == (0, behind.occurred_at)
    Consumer.objects.update(read_to=second.position - 1)
    assert starts.to_come("fraudwatch", "orders") == (1, second.occurred_at)


@contextmanager
def something_open():
    """A transaction that may have told something, and does not end."""
    writes, ends = threading.Event(), threading.Event()

    def write():
        with transaction("orders"):
            a_teller_of_nothing = Customer.objects.create(email=f"{uuid7()}@example.com", name="N")
            assert a_teller_of_nothing.id
            writes.set()
            assert ends.wait(LONG)

    thread = threading.Thread(target=together, args=(write,), daemon=True)
    thread.start()
    assert writes.wait(LONG)
    try:
        yield
    finally:
        ends.set()
        thread.join(LONG)


def test_where_some_transaction_is_always_open_the_past_is_read_all_the_same(
    fraudwatch, settings, monkeypatch, caplog
):
    monkeypatch.setattr(past, "_EARLIER", {})
    monkeypatch.setattr(catching_up, "PATIENCE", IMPATIENT)
    settings.SAGAS = {**settings.SAGAS, "START_GRACE": 0}
    [order] = trade()

    def has_read():
        catch_up(LONG)
        return streams(fraudwatch) == {order.id: [1, 2], order.payment_id: [1, 2]}

    with ExitStack() as first:
        first.enter_context(something_open())
        catch_up(LONG)
        assert "past_not_quiet" in caplog.text
        with something_open():
            first.close()
            eventually(has_read, LONG, "the past is read")
            assert not Consumer.objects.exclude(caught_up_at=None).exists(), "nobody knows the end"
    monkeypatch.setattr(catching_up, "PATIENCE", LONG)
    catch_up(LONG)
    assert not Consumer.objects.filter(caught_up_at=None).exists()


def test_what_is_open_since_before_an_event_is_waited_for_however_often_one_looks(
    fraudwatch, monkeypatch
):
    monkeypatch.setattr(catching_up, "PATIENCE", IMPATIENT)
    with something_open():
        [order] = trade()
        for _ in range(3):
            catch_up(LONG)
        assert streams(fraudwatch) == {}
    monkeypatch.setattr(catching_up, "PATIENCE", LONG)
    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1, 2], order.payment_id: [1, 2]}


def test_of_two_ticks_at_once_one_leaves_the_workers_to_the_present(fraudwatch, monkeypatch):
    monkeypatch.setattr(catching_up, "SLICE", LONG)
    trade()
    catching_up.alone.client().set(catching_up.KEY, "1", px=60_000)
    catching_up.tick()
    assert streams(fraudwatch) == {}

    catching_up.alone.client().delete(catching_up.KEY)
    catching_up.tick()
    assert sum(map(len, streams(fraudwatch).values())) == 4


def test_a_tick_that_took_too_long_does_not_end_who_is_at_it_by_now(fraudwatch, monkeypatch):
    """Two that are at it would else each let a third begin in the other's place, for good."""
    asked = catching_up.alone.client()

    def takes_long(*_):
        asked.set(catching_up.KEY, "another's")
        return 0, False

    monkeypatch.setattr(catching_up, "_catch_up_all", takes_long)
    catching_up.tick()

    assert asked.get(catching_up.KEY) == b"another's"


def test_without_redis_a_tick_catches_up_all_the_same(fraudwatch, monkeypatch):
    monkeypatch.setattr(
        catching_up.alone, "client", lambda: redis.Redis.from_url("redis://127.0.0.1:1/0")
    )
    monkeypatch.setattr(catching_up, "SLICE", LONG)
    trade()

    catching_up.tick()
    assert sum(map(len, streams(fraudwatch).values())) == 4


@pytest.mark.parametrize(
    "place_",
    [
        "consumer.begun",
        "deliver.committed",
        "catchup.delivered",
        "catchup.noted",
    ],
)
def test_killed_while_it_catches_up_it_goes_on_where_it_was(
    fraudwatch, fail_at, monkeypatch, place_
):
    monkeypatch.setattr(catching_up, "PAGE", 2)
    orders = trade(2)
    spread()
    fail_at(place_)
    with pytest.raises(FailpointHit):
        catch_up(LONG)
    orders += trade()

    catch_up(LONG)
    assert all(streams(fraudwatch)[order.id] == [1, 2] for order in orders)
    assert fraudwatch.count() == 12


def replace_handler(event, act):
    """Let a handler of the watch do something before it writes down what it hears."""
    others = subscriptions.SUBSCRIPTIONS[event, 1]
    [old] = [one for one in others if one.context == "fraudwatch"]

    def handler(seen):
        act(seen)
        old.handler(seen)

    new = replace(old, handler=handler)
    subscriptions.SUBSCRIPTIONS[event, 1] = [new if one is old else one for one in others]


def test_killed_in_the_middle_of_an_event_it_applies_it_once(fraudwatch):
    orders = trade(2)
    settle()
    ends = [None, SystemExit("killed"), None]

    def die(_seen):
        if ends and (end := ends.pop()):
            raise end

    replace_handler("orders.OrderConfirmed", die)
    with pytest.raises(SystemExit):
        catch_up(LONG)
    assert 0 < fraudwatch.count() < 8

    grow_old()  # an attempt that killed its worker counts, and the next one waits a little
    catch_up(LONG)
    assert all(streams(fraudwatch)[order.id] == [1, 2] for order in orders)
    assert fraudwatch.count() == 8


def test_what_it_cannot_handle_waits_for_a_person_and_holds_up_nothing_else(fraudwatch, settings):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    bad, good = trade(2)
    settle()

    def refuse(event):
        if event.order_id == bad.id:
            raise RuntimeError("no")

    replace_handler("orders.OrderPlaced", refuse)
    catch_up(LONG)
    assert DeadLetter.objects.get().aggregate_id == bad.id
    assert bad.id not in streams(fraudwatch)
    assert streams(fraudwatch)[good.id] == [1, 2]
    assert Consumer.objects.get(consumer="fraudwatch", producer="orders").read_to > 0


@pytest.fixture
def torn(fraudwatch, monkeypatch):
    """An order of three events, the second of them lost before any relay saw it, and another."""
    monkeypatch.setattr(catching_up, "PAGE", 1)
    order = place()
    close(order, "failed")
    close(order, "canceled")
    Outbox.objects.filter(aggregateid=order.id, sequence=2).delete()
    other = place()
    relay()
    Consumer.objects.exclude(consumer="fraudwatch").update(caught_up_at=Now())
    return order, other


def fill_the_hole(order):
    """Somebody has found the lost event, and puts it back as if it had just been told."""
    [told] = Outbox.objects.filter(aggregateid=order.id, sequence=3)
    told.position, told.id, told.sequence, told.published_at = None, uuid7(), 2, None
    told.type, told.leased_until = "orders.OrderConfirmed", None
    told.save(force_insert=True)


def test_one_order_with_a_hole_keeps_the_watch_from_no_other(torn, fraudwatch):
    order, other = torn
    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1], other.id: [1]}
    [letter] = DeadLetter.objects.all()
    assert (letter.aggregate_id, letter.sequence) == (order.id, 3)
    assert letter.reason.startswith("number 2 of its aggregate is neither in the outbox")


def test_what_stands_behind_a_hole_is_heard_when_it_is_filled(torn, fraudwatch):
    order, other = torn
    catch_up(LONG)
    for _ in range(3):  # as often as it may be looked at, it stays what it is
        grow_old()
        bring_news("fraudwatch")
    assert DeadLetter.objects.filter(resolved_at=None).count() == 1

    fill_the_hole(order)
    grow_old()
    bring_news("fraudwatch")
    assert streams(fraudwatch) == {order.id: [1, 2, 3], other.id: [1]}
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


def test_the_letter_of_a_hole_does_not_ring_for_ever(torn):
    catch_up(LONG)
    [letter] = DeadLetter.objects.all()
    grow_old()
    rung = 0
    for _ in range(10):  # ticks, with no time in between
        rung += retry_due()
        deliver("orders", "fraudwatch", [str(letter.event_id)])
    assert rung == 1


@pytest.fixture
def given_up(torn):
    """The letter of a hole that nobody has filled in time."""
    catch_up(LONG)
    for _ in range(3 * int(conf.HANDLER_ATTEMPTS)):
        grow_old()
        bring_news("fraudwatch")
    return DeadLetter.objects.get(resolved_at=None)


def test_the_letter_of_a_hole_comes_to_a_person(given_up):
    assert (given_up.next_at, given_up.attempts) == (None, conf.HANDLER_ATTEMPTS)
    assert given_up.reason.startswith("number 2 of its aggregate is neither in the outbox")


def test_the_letter_of_a_hole_that_is_sent_again_too_early_comes_to_the_person_again(given_up):
    assert resend(given_up.id, by="alice", reason="look again")
    for _ in range(3 * int(conf.HANDLER_ATTEMPTS)):
        bring_news("fraudwatch")
        grow_old()
    [letter] = DeadLetter.objects.all()
    assert (letter.resolved_at, letter.next_at) == (None, None)


def test_what_stands_behind_a_hole_is_heard_when_a_person_sends_it_again(
    torn, given_up, fraudwatch
):
    order, _ = torn
    fill_the_hole(order)
    assert resend(given_up.id, by="alice", reason="number 2 is back")
    bring_news("fraudwatch")
    assert streams(fraudwatch)[order.id] == [1, 2, 3]
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


def test_a_letter_that_stands_behind_another_does_not_ring_for_ever(torn, fraudwatch):
    order, _ = torn
    catch_up(LONG)
    fill_the_hole(order)
    faults = [RuntimeError("no")] * int(conf.HANDLER_ATTEMPTS)

    def refuse(_):
        if faults:
            raise faults.pop()

    replace_handler("orders.OrderConfirmed", refuse)
    while faults:
        grow_old()
        bring_news("fraudwatch")
    [first, behind] = DeadLetter.objects.filter(resolved_at=None).order_by("sequence")
    assert (first.next_at, behind.next_at < clocks.real()) == (None, True)
    assert retry_due() == 0

    assert resend(first.id, by="alice", reason="mended")
    assert retry_due() == 2
    bring_news("fraudwatch")
    assert streams(fraudwatch)[order.id] == [1, 2, 3]
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


def test_what_stands_behind_a_hole_cannot_be_discarded_and_stays_to_be_seen(torn, fraudwatch):
    order, _ = torn
    catch_up(LONG)
    [letter] = DeadLetter.objects.all()

    assert not discard(letter.id, by="alice", reason="go on")
    with pytest.raises(CommandError, match="an event before it is not applied"):
        call_command("deadletters", "discard", str(letter.id), "--by=alice", "--reason=no", "--yes")
    assert "an event before it is not applied" in DiscardDeadLetter().refusal(letter)
    assert DeadLetter.objects.get().resolved_at is None
    fill_the_hole(order)
    grow_old()
    bring_news("fraudwatch")
    assert streams(fraudwatch)[order.id] == [1, 2, 3]
    assert DeadLetter.objects.get().resolved_at is not None


def test_killed_after_it_has_said_that_there_is_a_hole_it_goes_on(torn, fraudwatch, fail_at):
    order, other = torn
    fail_at("letter.committed")
    with pytest.raises(FailpointHit):
        catch_up(LONG)

    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1], other.id: [1]}
    assert DeadLetter.objects.count() == 1


def test_two_ticks_that_find_a_hole_at_once_say_it_once_and_go_on(torn, fraudwatch):
    order, other = torn
    assert raised(together(*[lambda: catch_up(LONG)] * 3)) == []
    assert streams(fraudwatch) == {order.id: [1], other.id: [1]}
    assert DeadLetter.objects.count() == 1


def prune_all():
    """Everything is told, applied, settled and so old that only the history has it."""
    settle()
    grow_old(90 * 86_400.0)
    prune()
    assert not Outbox.objects.exists()


def test_killed_amid_the_pruned_events_of_an_order_it_goes_on_with_the_next_of_them(
    no_broker, fail_at, monkeypatch
):
    [order] = trade()
    prune_all()

    with installed("fraudwatch", monkeypatch) as heard:
        fail_at("deliver.committed")
        with pytest.raises(FailpointHit):
            catch_up(LONG)
        assert heard.count() == 1

        catch_up(LONG)
        assert streams(heard) == {order.id: [1, 2], order.payment_id: [1, 2]}


def test_more_pruned_events_of_an_order_than_a_page_has_are_heard_to_the_last(
    no_broker, monkeypatch
):
    monkeypatch.setattr(reading, "PAGE", 1)
    monkeypatch.setattr(delivery, "PAGE", 1)
    [order] = trade()
    prune_all()

    with installed("fraudwatch", monkeypatch) as heard:
        catch_up(LONG)
        assert streams(heard) == {order.id: [1, 2], order.payment_id: [1, 2]}


def test_a_pruned_event_that_failed_behind_others_is_handled_when_it_is_tried_again(
    no_broker, monkeypatch
):
    [order] = trade()
    prune_all()

    with installed("fraudwatch", monkeypatch) as heard:
        failures = [RuntimeError("not now")]

        def fail_once(_seen):
            if failures:
                raise failures.pop()

        replace_handler("orders.OrderConfirmed", fail_once)
        catch_up(LONG)
        letter = DeadLetter.objects.get(resolved_at=None)
        grow_old()

        deliver(letter.producer, letter.context, [str(letter.event_id)])
        assert streams(heard)[order.id] == [1, 2]
        assert not DeadLetter.objects.filter(resolved_at=None).exists()


def test_a_pruned_event_that_kills_its_worker_each_time_waits_for_a_person_in_the_end(
    no_broker, monkeypatch, settings
):
    [order] = trade()
    prune_all()
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2, "REPUBLISH_AFTER": 0.000_001}

    with installed("fraudwatch", monkeypatch) as heard:

        def die(_seen):
            raise SystemExit("killed")

        replace_handler("orders.OrderPlaced", die)
        for _ in range(2):
            with pytest.raises(SystemExit):
                catch_up(LONG)
            grow_old()
        catch_up(LONG)
        assert DeadLetter.objects.get(resolved_at=None).next_at is None
        assert streams(heard) == {order.payment_id: [1, 2]}


def test_what_a_new_consumer_has_not_read_is_not_pruned(no_broker, monkeypatch):
    orders = trade(2)
    settle()
    grow_old(90 * 86_400.0)
    with installed("fraudwatch", monkeypatch) as heard:
        begin_new()
        with monkeypatch.context() as patch:
            patch.setattr(catching_up, "catch_up", lambda _: 0)
            prune()
        assert Outbox.objects.filter(type="orders.OrderPlaced").count() == 2

        prune()
        assert not Outbox.objects.exists()
        assert all(streams(heard)[order.id] == [1, 2] for order in orders)


def test_when_it_has_caught_up_and_no_older_release_can_tell_it_is_let_be(fraudwatch, settings):
    settings.SAGAS = {**settings.SAGAS, "START_GRACE": 0}
    trade()

    catch_up(LONG)
    catch_up(LONG)
    assert not Consumer.objects.filter(caught_up_at=None).exists()


def test_what_an_older_release_told_past_it_is_heard_by_the_next_tick(fraudwatch):
    begin_new()
    [order] = trade()
    # The older release knows nobody who listens there, so for it the events are done with.
    Outbox.objects.update(settled_at=clock.now(), published_at=clock.now())

    assert republish() >= 0
    catch_up(LONG)
    assert streams(fraudwatch)[order.id] == [1, 2]


def test_the_engine_that_begins_to_hear_of_an_old_order_does_not_ask_the_history(monkeypatch):
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", dict(subscriptions.SUBSCRIPTIONS))
    order = place()
    prune_all()
    heard = []
    for event in ("orders.OrderPlaced", "orders.OrderCanceled"):
        subscriptions.SUBSCRIPTIONS[event, 1] = [
            subscriptions.Subscription(
                event=event, version=1, context=ENGINE, payload=OrderSeen, handler=heard.append
            )
        ]
    close(order, "canceled")

    bring_news(ENGINE)
    assert len(heard) == 1


@dataclass(frozen=True)
class OrderSeen:
    order_id: UUID


def as_the_release_before(monkeypatch, event):
    """Let the running code have no handler of an event in the watch."""
    others = [one for one in subscriptions.SUBSCRIPTIONS[event, 1] if one.context != "fraudwatch"]
    monkeypatch.setitem(subscriptions.SUBSCRIPTIONS, (event, 1), others)


def test_a_worker_of_the_release_before_does_not_go_past_what_it_has_no_handler_of(
    fraudwatch, monkeypatch
):
    begin_new()
    [order] = trade()
    with monkeypatch.context() as older:
        as_the_release_before(older, "orders.OrderConfirmed")
        bring_news("fraudwatch")
        assert streams(fraudwatch)[order.id] == [1]

    bring_news("fraudwatch")
    assert streams(fraudwatch)[order.id] == [1, 2]
    assert not DeadLetter.objects.exists()


@pytest.fixture
def an_hour_later(fraudwatch):
    """An order of which nothing is heard yet; the watch began an hour ago and says that it runs."""
    begin_new()
    [order] = trade()
    Consumer.objects.update(listens_since=F("listens_since") - timedelta(hours=1))
    return order


def test_an_old_worker_passes_nothing_by_where_it_has_nothing_to_hear_while_a_release_has(
    an_hour_later, fraudwatch, monkeypatch
):
    with taken_back(monkeypatch):
        bring_news("fraudwatch")
    assert streams(fraudwatch) == {}

    bring_news("fraudwatch")
    assert streams(fraudwatch)[an_hour_later.id] == [1, 2]


def test_an_old_worker_waits_for_no_release_that_has_gone(an_hour_later, fraudwatch, monkeypatch):
    let_pass(float(conf.START_GRACE) + 1)
    with taken_back(monkeypatch):
        bring_news("fraudwatch")
    order = an_hour_later
    assert delivery.position("fraudwatch", order.aggregate_type, order.id) == 2


def test_what_an_old_worker_passes_by_that_a_release_still_hears_is_said(
    an_hour_later, fraudwatch, monkeypatch, caplog
):
    as_the_release_before(monkeypatch, "orders.OrderPlaced")
    bring_news("fraudwatch")
    assert streams(fraudwatch)[an_hour_later.id] == [2], "its own events wait for nobody"
    assert "passed_by" in caplog.text

    caplog.clear()
    let_pass(float(conf.START_GRACE) + 1)
    trade()
    bring_news("fraudwatch")
    assert "passed_by" not in caplog.text


def test_what_a_release_has_no_handler_of_is_no_attempt_at_it_nor_rung_for_at_each_tick(
    fraudwatch, monkeypatch
):
    def refuse(_):
        raise RuntimeError("no")

    begin_new()
    [order] = trade()
    replace_handler("orders.OrderPlaced", refuse)
    bring_news("fraudwatch")
    as_the_release_before(monkeypatch, "orders.OrderPlaced")

    for _ in range(3 * int(conf.HANDLER_ATTEMPTS)):
        grow_old()
        bring_news("fraudwatch")
    [letter] = DeadLetter.objects.filter(aggregate_id=order.id)
    assert letter.attempts == 1
    assert letter.next_at > clocks.real(), "a lease later"


def test_a_handler_that_was_left_out_for_good_holds_up_nothing_for_long(
    fraudwatch, monkeypatch, settings
):
    begin_new()
    [order] = trade()
    as_the_release_before(monkeypatch, "orders.OrderPlaced")
    settings.SAGAS = {**settings.SAGAS, "START_GRACE": 0}

    bring_news("fraudwatch")
    assert streams(fraudwatch)[order.id] == [2]


def let_pass(seconds):
    """Let time go by since anybody has last said that it listens."""
    Consumer.objects.update(listens_since=F("listens_since") - timedelta(seconds=seconds))
    for row in Consumer.objects.all():
        row.said = {name: at - seconds for name, at in row.said.items()}
        row.save(update_fields=["said"])


def no_longer_lately():
    let_pass(86_400)


@contextmanager
def taken_back(monkeypatch):
    """The release before, in which nobody of fraudwatch listens."""
    with monkeypatch.context() as older:
        for event, found in list(subscriptions.SUBSCRIPTIONS.items()):
            others = [one for one in found if one.context != "fraudwatch"]
            older.setitem(subscriptions.SUBSCRIPTIONS, event, others)
        yield


@pytest.fixture
def caught_up(fraudwatch):
    """The watch has heard all that was told so far; no release with it has run for a day."""
    begin_new()
    no_longer_lately()
    catch_up(LONG)
    assert not Consumer.objects.filter(consumer="fraudwatch", caught_up_at=None).exists()
    no_longer_lately()
    return fraudwatch


def test_what_was_told_while_its_release_was_taken_back_is_heard_when_it_comes_again(
    caught_up, monkeypatch
):
    with taken_back(monkeypatch):
        [order] = trade()
        settle()
        catch_up(LONG)
        assert not Outbox.objects.filter(settled_at=None).exists()

    catch_up(LONG)
    assert streams(caught_up) == {order.id: [1, 2], order.payment_id: [1, 2]}


@pytest.fixture
def whispers(caught_up, monkeypatch):
    """The watch, and nobody else, hears whispers; what is given opens the release before."""
    handlers = importlib.import_module("tests.consumers.fraudwatch.handlers")
    subscriptions.subscribe(
        subscriptions.Subscription(
            event=Whispered.name,
            version=1,
            context="fraudwatch",
            payload=ToldSeen,
            handler=lambda _: handlers._write(),
        )
    )
    begin_new()
    no_longer_lately()
    catch_up(LONG)
    no_longer_lately()
    return lambda: taken_back(monkeypatch)


def test_what_a_worker_of_the_release_before_settles_is_heard_though_no_tick_of_it_ran(
    whispers, caught_up
):
    teller = a_teller()
    with whispers():
        tell(teller, "a", event=Whispered)
        relay_batch("orders")
    assert not Outbox.objects.filter(type=Whispered.name, settled_at=None).exists()

    catch_up(LONG)
    assert streams(caught_up) == {teller.id: [1]}


def test_what_a_comparison_of_the_release_before_settles_is_heard_when_the_next_comes_again(
    whispers, caught_up
):
    teller = a_teller()
    tell(teller, "a", event=Whispered)
    relay()
    grow_old()
    no_longer_lately()
    with whispers():
        republish()
    assert not Outbox.objects.filter(type=Whispered.name, settled_at=None).exists()

    catch_up(LONG)
    assert streams(caught_up) == {teller.id: [1]}


def test_killed_before_it_settles_what_nobody_hears_a_relay_has_it_sent_again(
    whispers, caught_up, fail_at
):
    teller = a_teller()
    with whispers():
        tell(teller, "a", event=Whispered)
        fail_at("consumer.begun")
        with pytest.raises(FailpointHit):
            relay_batch("orders")
        assert Outbox.objects.get(type=Whispered.name).published_at is None
        grow_old()
        relay_batch("orders")

    catch_up(LONG)
    assert streams(caught_up) == {teller.id: [1]}


def test_what_another_release_listens_to_lately_is_neither_taken_from_it_nor_read_in_its_place(
    fraudwatch, monkeypatch
):
    [order] = trade()
    settle()
    begin_new()
    rows = Consumer.objects.filter(consumer="fraudwatch").order_by("id")
    begun = list(rows.values_list("names", "read_to"))
    with taken_back(monkeypatch):
        assert catch_up(LONG) == 0
    assert list(rows.values_list("names", "read_to")) == begun

    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1, 2], order.payment_id: [1, 2]}


def test_who_has_begun_lately_and_not_said_so_since_keeps_what_it_listens_to(
    fraudwatch, monkeypatch
):
    begin_new()
    Consumer.objects.update(said={})
    begun = list(Consumer.objects.order_by("id").values_list("names", flat=True))
    with taken_back(monkeypatch):
        begin_new()
    assert list(Consumer.objects.order_by("id").values_list("names", flat=True)) == begun


def test_what_is_said_is_said_of_one_consumer_and_one_producer(fraudwatch):
    begin_new()
    Consumer.objects.update(said={})
    starts._say("fraudwatch", "orders", frozenset({"orders.OrderPlaced"}))
    [row] = Consumer.objects.exclude(said={})
    assert (row.consumer, row.producer) == ("fraudwatch", "orders")


def reads_a_past():
    """Whether the watch still reads what orders told."""
    return Consumer.objects.get(consumer="fraudwatch", producer="orders").caught_up_at is None


def test_a_rolling_deploy_that_drops_a_handler_does_not_walk_the_past_again(whispers):
    tell(a_teller(), "a", event=Whispered)
    begin_new()
    with whispers():
        relay()
    begin_new()  # the release before still runs
    assert not reads_a_past()
    assert starts.to_come("fraudwatch", "orders") == (0, None)


def test_what_a_newer_release_has_dropped_is_left_to_the_older_for_as_long_as_it_runs(
    whispers, settings
):
    settings.SAGAS = {**settings.SAGAS, "START_GRACE": 30}
    for _ in range(3):
        begin_new()
        let_pass(20)
        with whispers():
            relay()
        assert not reads_a_past()


def test_what_is_told_while_two_releases_run_is_settled_by_the_one_that_hears_it(whispers):
    begin_new()
    with whispers():
        tell(a_teller(), "a", event=Whispered)
        relay_batch("orders")
        told = Outbox.objects.get(type=Whispered.name)
        assert (told.published_at is None, told.settled_at) == (False, None)
        grow_old()
        republish()
        told.refresh_from_db()
        assert told.settled_at is None
    assert republish() == 1


def test_a_tick_of_the_release_before_that_goes_on_for_too_long_passes_nothing_by(
    fraudwatch, monkeypatch, settings
):
    [order] = trade()
    settle()
    begin_new()
    settings.SAGAS = {**settings.SAGAS, "START_GRACE": 0}
    with taken_back(monkeypatch), monkeypatch.context() as began_before:
        began_before.setattr(starts, "begin_new", lambda: None)
        assert catch_up(LONG) == 0

    catch_up(LONG)
    assert streams(fraudwatch) == {order.id: [1, 2], order.payment_id: [1, 2]}


def test_a_past_that_was_half_read_when_its_release_was_taken_back_is_read_to_its_end(
    fraudwatch, monkeypatch
):
    orders = trade(2)
    settle()
    begin_new()
    [first] = Outbox.objects.filter(aggregateid=orders[0].id, sequence=1)
    deliver("orders", "fraudwatch", [str(first.id)])
    no_longer_lately()
    with taken_back(monkeypatch):
        assert catch_up(LONG) == 0

    catch_up(LONG)
    assert all(streams(fraudwatch)[order.id] == [1, 2] for order in orders)
    assert all(streams(fraudwatch)[order.payment_id] == [1, 2] for order in orders)


def test_a_look_that_began_while_an_older_release_could_tell_is_not_the_last(
    fraudwatch, monkeypatch, settings
):
    look = past.horizon

    def take_long(*words):
        found = look(*words)
        settings.SAGAS = {**settings.SAGAS, "START_GRACE": 0}
        return found

    monkeypatch.setattr(past, "horizon", take_long)
    begin_new()
    Consumer.objects.exclude(consumer="fraudwatch", producer="orders").delete()
    monkeypatch.setattr(starts, "begin_new", lambda: None)
    catch_up(LONG)
    assert Consumer.objects.get().caught_up_at is None

    catch_up(LONG)
    assert Consumer.objects.get().caught_up_at is not None


# -- from now on -----------------------------------------------------------------------------------


def test_a_consumer_of_now_hears_nothing_of_what_was_told_before(latewatch):
    trade(2)
    settle()
    begin_new()

    assert catch_up(LONG) == 0
    bring_news("latewatch")
    assert latewatch.count() == 0


def test_it_hears_what_is_told_from_now_on_also_of_an_old_order(latewatch):
    old = place()
    settle()
    begin_new()
    close(old, "confirmed")
    new = place()

    bring_news("latewatch")
    assert streams(latewatch) == {old.id: [2], new.id: [1]}


def test_where_it_began_is_one_place_for_all_workers(latewatch):
    place()
    assert raised(together(*[begin_new] * 4)) == []
    begun = Consumer.objects.get(consumer="latewatch", producer="orders").border

    place()
    begin_new()
    assert Consumer.objects.get(consumer="latewatch", producer="orders").border == begun


def test_a_delivery_that_comes_before_every_tick_begins_it(latewatch):
    order = place()
    bring_news("latewatch")
    assert latewatch.count() == 0

    close(order, "canceled")
    bring_news("latewatch")
    assert streams(latewatch) == {order.id: [2]}


def test_what_it_does_not_read_is_not_delivered_to_it_for_ever(latewatch):
    place()
    begin_new()
    relay()
    spread()
    grow_old()

    assert republish() == 0
    assert not Outbox.objects.filter(settled_at=None).exists()


def behind_of(consumer, producer):
    """How many events a consumer is said to be behind a producer."""
    [found] = [one for one in lag.behind() if (one.consumer, one.producer) == (consumer, producer)]
    return found.count


def test_what_it_does_not_read_is_not_said_to_be_missing(latewatch):
    place()
    relay()
    begin_new()
    assert behind_of("latewatch", "orders") == 0
    place()
    relay()
    assert behind_of("latewatch", "orders") == 1


def hear_too(event):
    """The watch that begins with now listens to one more event."""
    handlers = importlib.import_module("tests.consumers.latewatch.handlers")
    subscriptions.subscribe(
        subscriptions.Subscription(
            event=event,
            version=1,
            context="latewatch",
            payload=ToldSeen,
            handler=lambda _: handlers._write(),
            start="now",
        )
    )


@pytest.fixture
def pruned(latewatch):
    """Two tellers, whose first event, told behind the border to nobody, only the history has."""
    place()
    hear_too(Told.name)
    begin_new()
    tellers = [a_teller(), a_teller()]
    for teller in tellers:
        tell(teller, "a", event=Whispered)
    prune_all()
    hear_too(Whispered.name)
    return tellers


def test_what_it_listens_to_later_is_brought_from_the_history_up_to_its_border(pruned, latewatch):
    catch_up(LONG)
    assert streams(latewatch) == {teller.id: [1] for teller in pruned}


def test_the_next_event_does_not_pass_by_what_it_listens_to_later(pruned, latewatch):
    begin_new()
    deliver("orders", "latewatch", tell(pruned[0], "b"))
    assert streams(latewatch) == {pruned[0].id: [1, 2]}


def test_of_a_pruned_past_it_hears_nothing_from_before_its_border(latewatch):
    order = place()
    prune_all()
    begin_new()
    close(order, "canceled")

    bring_news("latewatch")
    catch_up(LONG)
    assert streams(latewatch) == {order.id: [2]}


# -- the word is changed ---------------------------------------------------------------------------


def test_a_start_that_is_changed_later_changes_nothing_and_is_said(latewatch, monkeypatch, caplog):
    trade()
    begin_new()
    border = border_of("latewatch", "orders")
    changed = {
        event: [replace(one, start="first") if one.context == "latewatch" else one for one in found]
        for event, found in subscriptions.SUBSCRIPTIONS.items()
    }
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS", changed)

    catch_up(LONG)
    assert latewatch.count() == 0
    assert border_of("latewatch", "orders") == border
    assert "start_changed" in caplog.text


def test_two_words_for_one_producer_are_refused(fraudwatch):
    def handler(event: ToldSeen) -> None: ...

    handler.__module__ = "tests.consumers.fraudwatch.handlers"
    with pytest.raises(InvalidDefinition, match="one for all its handlers"):
        on("orders.OrderFailed", start="now")(handler)
    with pytest.raises(InvalidDefinition, match="say first or now"):
        on("orders.OrderFailed", start="then")(handler)


def test_an_event_it_begins_to_listen_to_later_is_brought_from_the_first_one_on(fraudwatch):
    order = place()
    settle()
    catch_up(LONG)
    heard = []

    @dataclass(frozen=True)
    class RegisteredSeen:
        customer_id: UUID

    subscriptions.subscribe(
        subscriptions.Subscription(
            event="orders.CustomerRegistered",
            version=1,
            context="fraudwatch",
            payload=RegisteredSeen,
            handler=lambda event: heard.append(event.customer_id),
        )
    )
    catch_up(LONG)
    assert heard == [order.customer_id]
    assert streams(fraudwatch) == {order.id: [1]}


def test_who_adds_no_event_sends_nobody_back_to_the_first(fraudwatch):
    trade()
    catch_up(LONG)
    row = Consumer.objects.get(consumer="fraudwatch", producer="orders")

    starts._listen_to_more(row, frozenset(row.names[:1]))
    assert Consumer.objects.get(id=row.id).read_to == row.read_to > 0


def test_two_releases_that_add_events_at_once_keep_those_of_both(fraudwatch):
    begin_new()
    row = Consumer.objects.get(consumer="fraudwatch", producer="orders")

    starts._listen_to_more(row, frozenset({"orders.One"}))
    starts._listen_to_more(row, frozenset({"orders.Two"}))
    assert set(Consumer.objects.get(id=row.id).names) == {*row.names, "orders.One", "orders.Two"}


def test_a_slow_tick_takes_nothing_back_and_passes_no_event_that_was_added(fraudwatch):
    trade()
    begin_new()
    slow = Consumer.objects.get(consumer="fraudwatch", producer="orders")
    catch_up(LONG)
    come = Consumer.objects.get(id=slow.id).read_to
    catching_up._note(slow, 1)
    assert Consumer.objects.get(id=slow.id).read_to == come

    starts._listen_to_more(slow, frozenset({"orders.One"}))
    catching_up._note(slow, come)
    assert Consumer.objects.get(id=slow.id).read_to == 0
