"""More of what an attack on events and watched flows has found broken."""

import io
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections

from billing.choreographies import REWARD
from orders.models import Customer, Outbox
from sagas.admin import story
from sagas.api import publish, transaction
from sagas.choreography import checks, operating, watchdog
from sagas.choreography import flows as registered
from sagas.contexts import contexts
from sagas.core import upcasting
from sagas.core.choreography import Hop
from sagas.core.upcasting import upcast, upcasts
from sagas.correlation import Correlation, correlated
from sagas.models import DeadLetter
from sagas.outbox import (
    catching_up,
    discarding,
    exchange,
    outside,
    refused,
    relay,
    slots,
    subscriptions,
    tailing,
)
from sagas.outbox import lag as outbox_lag
from sagas.outbox import republish as republishing
from sagas.outbox.delivery import deliver
from sagas.outbox.pruning import prune
from sagas.outbox.republish import republish
from sagas.outbox.starts import begin_new
from sagas.streams import folding, showing
from sagas.streams.verifying import verify
from tests.databases import rows
from tests.factories import a_customer
from tests.integration.orders.board import place
from tests.integration.sagas import trial
from tests.integration.sagas.flows import a_flow, carry, flow, make_due, publish_all
from tests.integration.sagas.news import Told, Whispered, a_teller, grow_old, listen, tell


def watch():
    make_due()
    return watchdog.watch()


@dataclass(frozen=True, kw_only=True, slots=True)
class AnyOrder:
    order_id: UUID


# -- upcasting -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    grams: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelsSeen:
    parcels: tuple[Parcel, ...]

    @property
    def text(self):
        return str(self.parcels[0].grams)


@pytest.fixture
def grams(monkeypatch):
    monkeypatch.setattr(upcasting, "UPCASTERS", {})

    @upcasts(Told.name, 1)
    def to_grams(payload):
        for parcel in payload["parcels"]:
            parcel["grams"] *= 1000
        return payload


def test_a_payload_that_was_given_to_an_upcaster_stays_as_it_is(grams):
    payload = {"parcels": [{"grams": 2}]}
    upcast(Told.name, payload, 1, 2)
    assert payload == {"parcels": [{"grams": 2}]}


def test_two_handlers_of_a_context_are_given_the_same_of_an_old_row(broker, nobody_listens, grams):
    listen(version=2, payload=ParcelsSeen)
    listen(version=2, payload=ParcelsSeen)
    [event_id] = tell(a_teller(), "a")
    rows("UPDATE orders_outbox SET payload = '{\"parcels\": [{\"grams\": 2}]}'")
    deliver("orders", "billing", [event_id])
    assert trial.effects() == ["billing:2000#1", "billing:2000#1"]


# -- appending -------------------------------------------------------------------------------------


def test_a_proxy_of_an_aggregate_tells_of_the_same_stream(broker, nobody_listens):
    class Regular(Customer):
        class Meta:
            proxy = True
            app_label = "orders"

    teller = a_teller()
    tell(teller, "a")
    with transaction("orders"):
        publish(Told(text="b"), aggregate=Regular.objects.get(id=teller.id))
    tell(teller, "c")
    told = Outbox.objects.order_by("position").values_list("aggregatetype", "sequence")
    assert list(told) == [("orders.customer", 1), ("orders.customer", 2), ("orders.customer", 3)]


# -- verify ----------------------------------------------------------------------------------------


def test_a_stream_whose_positions_are_not_in_the_order_of_its_numbers_is_named(
    broker, nobody_listens
):
    teller = a_teller()
    tell(teller, "a")
    relay.relay()
    # A database that was put back, or moved, without the place of its sequence.
    rows("SELECT setval(pg_get_serial_sequence('orders_outbox', 'position'), 500)")
    tell(teller, "b")
    rows("SELECT setval(pg_get_serial_sequence('orders_outbox', 'position'), 300)")
    tell(teller, "c")
    relay.relay()
    named = [each for each in verify(("orders",)).differences if each.field in ("numbers", "positions")]
    assert [each.stream for each in named] == [f"orders.customer:{teller.id}"]


# -- as of an instant ------------------------------------------------------------------------------


def test_a_stream_that_nothing_folds_is_not_said_to_have_been_away(broker, monkeypatch):
    monkeypatch.setattr(showing, "FOLDS", {})
    assert folding.FOLDS
    teller = a_teller()
    tell(teller, "a")
    out = io.StringIO()
    call_command("events", "show", f"orders.customer:{teller.id}", stdout=out)
    assert "orders.TrialTold" in out.getvalue()
    assert "it was not there" not in out.getvalue()


# -- watched flows ---------------------------------------------------------------------------------


def test_an_undo_that_ends_its_process_waits_for_an_operator_after_as_many_attempts(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    a_flow(broker)
    killed = []

    def take_back(order: AnyOrder) -> None:
        killed.append(order)
        raise SystemExit("out of memory")

    hops = (
        Hop(context="billing", tells="billing.CouponGranted", undo=take_back),
        Hop(context="orders"),
    )
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=hops))
    operating.compensate(flow().id, by="alice", reason="a mistake")
    for _ in range(6):
        try:
            watch()
        except SystemExit:
            continue
    assert flow().parked_at is not None
    assert len(killed) <= 3


def test_a_flow_that_is_parked_half_undone_is_undone_to_its_end_by_a_release_with_one_more_hop(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 1}
    a_flow(broker)
    undone, closed = [], ["the books are closed"]

    def give_back(order: AnyOrder) -> None:
        if closed:
            raise RuntimeError(closed[0])
        undone.append("billing gave back")

    def write(order: AnyOrder) -> None:
        undone.append("orders wrote")

    def unpack(order: AnyOrder) -> None:
        undone.append("orders unpacked")

    hops = (
        Hop(context="billing", tells="billing.CouponGranted", undo=give_back),
        Hop(context="orders", undo=write),
    )
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=hops))
    operating.compensate(flow().id, by="alice", reason="a mistake")
    watch()
    assert (undone, flow().undone, flow().parked_at is not None) == (["orders wrote"], [1], True)

    more = (Hop(context="orders", tells="orders.OrderPlaced", undo=unpack), *hops)
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=more))
    closed.clear()
    operating.resume(flow().id, by="alice", reason="they are open")
    watch()
    assert flow().state == "compensated"
    assert "billing gave back" in undone
    assert undone.count("orders wrote") == 1


NO_UNDO = (Hop(context="billing", tells="billing.CouponGranted"), Hop(context="orders"))


def test_a_parked_flow_whose_hops_are_all_through_is_finished_at_its_resume_also_after_months(
    broker, monkeypatch
):
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=NO_UNDO))
    a_flow(broker)
    publish_all()
    [grant] = [one for one in broker.take() if "billing" in one.args[1:2]]
    broker.run_chain(grant)  # the first hop is through; the event of the second is lost for now
    for _ in range(REWARD.redrives + 1):
        make_due(overdue=True)
        watchdog.watch()
        broker.take()
    assert flow().parked_reason.startswith("hop 2 of 2: orders has not handled")
    assert [one["context"] for one in flow().seen] == ["billing"]

    for _ in range(3):
        carry(broker)
        republish()
        grow_old()
    for name in ("billing_inbox", "orders_inbox"):
        rows(f"UPDATE {name} SET applied_at = applied_at - interval '90 days'")
    for name in ("billing_outbox", "orders_outbox"):
        rows(f"UPDATE {name} SET settled_at = settled_at - interval '90 days'")
    prune()
    operating.resume(flow().id, by="alice", reason="all is mended")
    for _ in range(REWARD.redrives + 1):
        make_due(overdue=True)
        watchdog.watch()
        carry(broker)
    assert (flow().state, flow().parked_reason) == ("completed", "")


def test_a_flow_that_outlasts_what_pruning_leaves_is_refused_for_a_broken_number_of_days_too(
    monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "RETENTION_DAYS": 2.9}
    long = replace(REWARD, within=timedelta(days=2.5))
    monkeypatch.setattr(registered, "FLOWS", {REWARD.name: long})
    monkeypatch.setattr(checks, "FLOWS", registered.FLOWS)
    rows(
        "INSERT INTO billing_inbox (consumer, event_id, type, applied_at) VALUES"
        " ('billing', gen_random_uuid(), 'a', clock_timestamp() - interval '2.4 days')"
    )
    prune()
    [(left,)] = rows("SELECT count(*) FROM billing_inbox")
    refused = [one.id for one in checks.check_choreographies() if one.id == "sagas.E023"]
    assert left == 1 or refused == ["sagas.E023"]


# -- what operators see ----------------------------------------------------------------------------


def test_an_event_that_is_in_no_timeline_is_shown_however_many_a_click_has_led_to(broker):
    cause = Correlation(correlation_id="one-click-with-many-orders")
    buyer = a_customer()
    with correlated(cause):
        orders = [place(buyer) for _ in range(201)]
    told = Outbox.objects.filter(type="orders.OrderPlaced", aggregateid__in=[o.id for o in orders])
    ids = [str(one) for one in told.order_by("position").values_list("id", flat=True)]
    deliver("orders", "orders", ids[:200])
    shown = story.gather(cause.correlation_id)
    last = [one for one in shown.passages if str(orders[-1].id) in one.url + one.text]
    assert last != [] or "is not in it" in shown.freshness


def test_a_consumer_is_behind_also_where_many_older_events_wait_for_somebody_else(
    broker, nobody_listens, monkeypatch
):
    monkeypatch.setattr(outbox_lag, "MOST", 3)
    monkeypatch.setattr(outbox_lag, "SUBSCRIPTIONS", subscriptions.SUBSCRIPTIONS)
    listen("billing")
    listen("payments", event=Whispered.name)
    teller = a_teller()
    tell(teller, *"abc")
    tell(a_teller(), *"de", event=Whispered)
    found = {one.consumer: one.count for one in outbox_lag.behind()}
    assert (found["billing"], found["payments"] > 0) == (3, True)


# -- tailing the log -------------------------------------------------------------------------------


def test_once_goes_up_to_the_end_of_the_log_also_past_what_the_relay_has_marked(
    broker, nobody_listens, monkeypatch
):
    for alias in slots.databases():
        slots.set_up(alias)
    try:
        monkeypatch.setattr(tailing, "MOST_CHANGES", 2)
        listen()
        for text in "abcd":
            tell(a_teller(), text)
        relay.relay()  # which runs beside, as ever
        [late] = tell(a_teller(), "late")
        rows(
            "BEGIN; SET LOCAL synchronous_commit = on;"
            " SELECT pg_logical_emit_message(true, 'trial', ''); COMMIT"
        )
        call_command("outbox", "tail", "--once", stdout=io.StringIO())
        assert Outbox.objects.get(id=late).published_at is not None
    finally:
        for alias in slots.databases():
            slots.drop(alias)


# -- a new consumer, and one aggregate that cannot go on -------------------------------------------


def test_one_aggregate_with_a_hole_does_not_keep_a_new_consumer_from_all_others(
    broker, nobody_listens, monkeypatch
):
    monkeypatch.setattr(catching_up, "PAGE", 2)
    torn, other = a_teller(), a_teller()
    _, lost, _ = tell(torn, "a", "b", "c")
    Outbox.objects.filter(id=lost).delete()  # before a relay has put it into the history
    tell(other, "x", "y")
    relay.relay()
    listen()
    begin_new()
    for _ in range(5):
        catching_up.catch_up(5.0)
    assert trial.effects() == ["billing:a#1", "billing:x#1", "billing:y#2"]


# -- what is said ----------------------------------------------------------------------------------


def test_a_question_that_took_too_long_is_not_said_to_be_a_database_that_is_away(broker):
    held, over = threading.Event(), threading.Event()

    def hold():
        with transaction("orders"):
            rows("LOCK TABLE orders_projection IN ACCESS EXCLUSIVE MODE")
            held.set()
            over.wait(30)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(30)
        rows("SET statement_timeout = '200ms'")
        with pytest.raises(CommandError) as said:
            call_command("projections", "lag", stdout=io.StringIO())
    finally:
        over.set()
        thread.join(30)
        rows("RESET statement_timeout")
        connection.close()
    assert "DATABASE_URL" not in str(said.value)


# -- the outside -----------------------------------------------------------------------------------


def test_what_was_discarded_for_the_outside_stays_discarded_when_a_sender_thaws(
    broker, nobody_listens, settings
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 1}
    settings.CLOUDEVENTS_EXCHANGE = "shop"
    teller = a_teller()
    tell(teller, "too large", "next")
    [told, _] = outside._due("orders", 10)
    no = exchange.Refused("too large")
    refused.note("orders", told, no, 0.1)  # by another sender, while the first is frozen
    letter = DeadLetter.objects.get()
    assert discarding.discard(letter.id, by="alice", reason="too large")
    refused.note("orders", told, no, 60.0)  # it thaws, and notes what it was told
    refused.settle_sent()
    assert [one.sequence for one in outside._due("orders", 10)] == [2]


# -- one database of several is away ---------------------------------------------------------------


def away(asked, after=lambda *_, **__: []):
    """The database of the context, or alias, that is asked first has gone."""

    def act(name, *words, **options):
        asked.append(name)
        if len(asked) == 1:
            raise OperationalError("connection refused")
        return after(name, *words, **options)

    return act


def test_a_tick_of_the_relay_goes_on_with_other_contexts_where_one_has_lost_its_database(
    broker, nobody_listens, monkeypatch
):
    asked = []
    monkeypatch.setattr(relay, "_lease", away(asked))
    with suppress(OperationalError):
        relay.relay()
    assert set(asked) == set(contexts())


def test_a_tick_of_the_comparison_goes_on_with_other_contexts_where_one_has_lost_its_database(
    broker, nobody_listens, monkeypatch
):
    asked = []
    monkeypatch.setattr(republishing, "_unsettled", away(asked))
    with suppress(OperationalError):
        republish()
    assert set(asked) == set(contexts())


def test_a_slot_above_its_ceiling_is_dropped_also_where_another_database_is_away(
    broker, monkeypatch
):
    asked, dropped = [], []
    full = slots.Tail(
        alias="b", is_wanted=True, note="", has_slot=True, is_lost=False, retained=1 << 50
    )
    monkeypatch.setattr(slots, "databases", lambda: {"a": ("orders",), "b": ("billing",)})
    monkeypatch.setattr(slots, "look", away(asked, lambda _: full))
    monkeypatch.setattr(slots, "drop_slot", dropped.append)
    with suppress(OperationalError):
        slots.watch()
    assert dropped == ["b"]
