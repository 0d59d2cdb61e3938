"""What an attack on events, read models and watched flows has found broken."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.choreographies import REWARD
from orders.models import CustomerAccess, Outbox
from payments.events import PaymentDeclined
from payments.models import Payment
from sagas.api import Projection, Put, current_event, publish, transaction, uuid7
from sagas.choreography import flows as registered
from sagas.choreography import operating, watchdog
from sagas.core import upcasting
from sagas.core.choreography import Hop
from sagas.core.upcasting import upcasts
from sagas.models import Consumer, DeadLetter
from sagas.outbox import discarding, relay, subscriptions
from sagas.outbox.catching_up import catch_up
from sagas.outbox.delivery import deliver
from sagas.outbox.pruning import prune
from sagas.outbox.republish import republish
from sagas.outbox.starts import begin_new
from sagas.outbox.subscriptions import Subscription
from sagas.projections import declaring, lag
from sagas.projections.rebuild import rebuild
from sagas.streams.verifying import verify
from tests.databases import rows
from tests.factories import a_customer, a_method
from tests.integration.orders.board import place
from tests.integration.sagas import trial
from tests.integration.sagas.flows import a_flow, flow, make_due
from tests.integration.sagas.news import (
    Told,
    ToldSeen,
    Whispered,
    a_teller,
    grow_old,
    listen,
    position,
    tell,
    write_down,
)
from tests.together import raised, together

MONTHS = 90 * 86_400.0


# -- a consumer of "now" that listens to more ------------------------------------------------------


def listen_from_now(event):
    def handler(seen: Any) -> None:
        write_down(f"billing:{seen.text}#{current_event().sequence}")

    subscriptions.SUBSCRIPTIONS.setdefault((event, 1), []).append(
        Subscription(
            event=event, version=1, context="billing", payload=ToldSeen, handler=handler, start="now"
        )
    )


@pytest.fixture
def pruned_behind_the_border(broker, nobody_listens):
    """Two tellers; what each has told behind the border was heard by nobody, and is pruned."""
    listen_from_now(Told.name)
    begin_new()
    tellers = [a_teller(), a_teller()]
    for teller in tellers:
        tell(teller, "a", event=Whispered)
    relay.relay()
    grow_old(MONTHS)
    prune()
    assert not Outbox.objects.exists()
    listen_from_now(Whispered.name)
    begin_new()
    return tellers


def test_what_a_consumer_of_now_listens_to_later_is_brought_also_where_the_outbox_has_pruned_it(
    pruned_behind_the_border,
):
    catch_up(30.0)
    assert trial.effects() == ["billing:a#1", "billing:a#1"]
    assert Consumer.objects.get(consumer="billing").read_to > 0


def test_what_a_consumer_of_now_listens_to_later_is_not_passed_by_with_the_next_event(
    pruned_behind_the_border,
):
    first, _ = pruned_behind_the_border
    deliver("orders", "billing", tell(first, "b"))
    assert trial.effects() == ["billing:a#1", "billing:b#2"]


# -- a projection and a handler of one context, in two versions ------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class SpokenSeen:
    spoken: str


@pytest.fixture
def no_upcasters(monkeypatch):
    monkeypatch.setattr(upcasting, "UPCASTERS", {})

    @upcasts(Told.name, 1)
    def spoken(payload):
        return {"spoken": payload["text"]}


@pytest.fixture
def wallets(monkeypatch, broker, nobody_listens, no_upcasters):
    """A projection of orders that reads version 2, beside a handler of orders that reads 1."""
    monkeypatch.setattr(declaring, "PROJECTIONS", {})
    found = Projection("orders.wallets", version=1, into=CustomerAccess)

    @found.on(Told.name, 2)
    def told(event: SpokenSeen) -> Put:
        return Put(current_event().aggregate_id, currency=event.spoken, can_be_billed=True)

    listen("orders", version=1)
    return found


def wallet():
    return rows("SELECT customer_id, currency, seen FROM orders_customeraccess")


def test_a_table_built_anew_is_the_live_one_also_where_a_handler_reads_an_older_version(wallets):
    deliver("orders", "orders", tell(a_teller(), "GBP"))
    live = wallet()
    rebuild(wallets)
    assert live == wallet()


@pytest.fixture
def old_wallets(monkeypatch, broker, nobody_listens, no_upcasters):
    """A projection of orders that reads version 1, beside a handler of orders that reads 2."""
    monkeypatch.setattr(declaring, "PROJECTIONS", {})
    found = Projection("orders.wallets", version=1, into=CustomerAccess)

    @found.on(Told.name, 1)
    def told(event: ToldSeen) -> Put:
        return Put(current_event().aggregate_id, currency=event.text, can_be_billed=True)

    listen("orders", version=2, payload=TextSpoken)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSpoken:
    spoken: str

    @property
    def text(self):
        return self.spoken


def test_a_version_that_a_projection_does_not_read_is_not_passed_by_where_a_handler_reads_it(
    old_wallets,
):
    teller = a_teller()
    [event_id] = tell(teller, "GBP")
    rows(
        "UPDATE orders_outbox SET version = 2, payload = '{\"spoken\": \"GBP\"}' WHERE id = %s",
        [event_id],
    )
    deliver("orders", "orders", [event_id])
    assert (position(teller, "orders"), wallet()) != (1, [])


def test_a_rebuild_that_meets_what_it_cannot_read_says_so_in_a_line_and_is_over(old_wallets):
    [event_id] = tell(a_teller(), "GBP")
    rows("UPDATE orders_outbox SET version = 2 WHERE id = %s", [event_id])
    with pytest.raises(CommandError, match=r"orders\.TrialTold version 2"):
        call_command("projections", "rebuild", "orders.wallets")
    assert rows("SELECT rebuilding_since FROM orders_projection") == [(None,)]


# -- a release that is taken back, and comes again -------------------------------------------------


def test_what_was_told_while_a_release_was_taken_back_is_heard_when_it_comes_again(
    broker, nobody_listens
):
    listen()
    begin_new()
    rows("UPDATE sagas_consumer SET listens_since = listens_since - interval '1 day'")
    catch_up(30.0)
    assert Consumer.objects.filter(caught_up_at=None).count() == 0
    heard = subscriptions.SUBSCRIPTIONS.pop((Told.name, 1))  # the release before, for a day
    relay.relay()
    tell(a_teller(), "a")
    relay.relay()
    grow_old()
    republish()

    subscriptions.SUBSCRIPTIONS[Told.name, 1] = heard
    relay.relay()
    catch_up(30.0)
    republish()
    broker.drain()
    assert trial.effects() == ["billing:a#1"]


# -- how fresh a projection is ---------------------------------------------------------------------


def test_what_is_behind_is_noted_also_while_the_oldest_of_it_stays_the_same(
    broker, nobody_listens, no_upcasters, monkeypatch
):
    monkeypatch.setattr(declaring, "PROJECTIONS", {})
    monkeypatch.setattr(lag, "PROJECTIONS", declaring.PROJECTIONS)
    found = Projection("orders.wallets", version=1, into=CustomerAccess)

    @found.on(Told.name, 1)
    def told(event: ToldSeen) -> Put:
        return Put(current_event().aggregate_id, currency=event.text, can_be_billed=True)

    tell(a_teller(), "GBP")
    lag.note()
    assert [one.behind for one in lag.noted()] == [1]
    tell(a_teller(), *["GBP"] * 50)
    lag.note()
    assert [one.behind for one in lag.lags()] == [51]
    assert [one.behind for one in lag.noted()] == [51]


# -- an attempt that ends after an operator has decided --------------------------------------------


def test_what_was_discarded_stays_discarded_when_a_worker_that_froze_over_it_thaws(
    broker, nobody_listens, settings
):
    settings.SAGAS = {**settings.SAGAS, "HANDLER_ATTEMPTS": 2}
    teller = a_teller()
    [poison] = tell(teller, "poison")
    outcomes, attempts = [], []

    def meanwhile(pid):
        # The server ends the session that stands still in its transaction. Others try in vain.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
        relay.relay_batch("orders")
        for _ in range(2):
            grow_old()
            deliver("orders", "billing", [poison])
        [letter] = DeadLetter.objects.filter(resolved_at=None, next_at=None)
        discarded = discarding.discard(letter.id, by="alice", reason="poison")
        republish()
        return discarded, Outbox.objects.get(id=poison).settled_at is not None

    def act(text):
        if text != "poison":
            return
        attempts.append(text)
        if len(attempts) > 1:
            raise RuntimeError("poison")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [pid] = cursor.fetchone()
        outcomes.extend(together(lambda: meanwhile(pid)))

    listen(act=act)
    deliver("orders", "billing", [poison])  # froze in the handler, and now finds its session gone
    assert raised(outcomes) == []
    assert (outcomes, len(attempts)) == ([(True, True)], 3)
    assert position(teller) == 1

    [news] = tell(teller, "news")
    for _ in range(3):
        relay.relay()
        deliver("orders", "billing", [news])
        grow_old()
        republish()
        broker.drain()
    assert trial.effects() == ["billing:news#2"]
    assert not DeadLetter.objects.filter(resolved_at=None).exists()


# -- watched flows ---------------------------------------------------------------------------------


def watch():
    make_due()
    return watchdog.watch()


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmedLater:
    """What version 2 says: what was called the total is the amount."""

    order_id: UUID
    amount: int


def test_a_flow_that_began_with_an_older_version_is_undone_by_a_release_that_reads_the_next(
    broker, monkeypatch
):
    monkeypatch.setattr(upcasting, "UPCASTERS", {})
    a_flow(broker)  # by the release of yesterday, which told version 1
    undone = []

    @upcasts("orders.OrderConfirmed", 1)
    def to_amount(payload):
        return {"order_id": payload["order_id"], "amount": payload["total"]}

    def take_back(order: ConfirmedLater) -> None:
        undone.append(order.amount)

    hops = (
        Hop(context="billing", tells="billing.CouponGranted", undo=take_back),
        Hop(context="orders"),
    )
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=hops, when=None))
    assert operating.compensate(flow().id, by="alice", reason="a mistake")
    watch()
    assert (flow().missing, flow().state, undone) == ("", "compensated", [12_500])


def test_an_undo_that_fails_at_its_commit_waits_for_an_operator_after_as_many_attempts(
    broker, monkeypatch, settings
):
    settings.SAGAS = {**settings.SAGAS, "MAX_ATTEMPTS": 2}
    a_flow(broker)
    rows("CREATE TEMP TABLE trial_parent (id int PRIMARY KEY)")
    rows(
        "CREATE TEMP TABLE trial_child (id int REFERENCES trial_parent"
        " DEFERRABLE INITIALLY DEFERRED)"
    )

    def take_back(_order: ConfirmedLaterTotal) -> None:
        with connection.cursor() as cursor:  # as every foreign key of Django: looked at at the end
            cursor.execute("INSERT INTO trial_child VALUES (1)")

    hops = (
        Hop(context="billing", tells="billing.CouponGranted", undo=take_back),
        Hop(context="orders"),
    )
    monkeypatch.setitem(registered.FLOWS, REWARD.name, replace(REWARD, hops=hops))
    operating.compensate(flow().id, by="alice", reason="a mistake")
    attempts = []
    for _ in range(4):
        watch()
        attempts.append(flow().attempts)
    assert "violates foreign key" in flow().missing
    assert (attempts, flow().parked_at is not None) == ([1, 2, 2, 2], True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfirmedLaterTotal:
    order_id: UUID


# -- verify ----------------------------------------------------------------------------------------


def test_a_payment_of_which_something_was_told_and_nothing_is_there_is_named(broker):
    buyer = a_customer()
    method = a_method(buyer)
    with transaction("payments"):
        facts = {
            "purpose": "order",
            "purpose_id": uuid7(),
            "customer_id": buyer.id,
            "amount": 500,
            "currency": "GBP",
        }
        payment = Payment.objects.create(method_id=method, status="failed", live=False, **facts)
        publish(
            PaymentDeclined(payment_id=payment.id, provider_ref="pi_1", code="no", **facts),
            aggregate=payment,
        )
    rows("DELETE FROM payments_outbox")  # an event is lost before any relay has seen it
    assert Payment.objects.get().event_sequence == 1
    assert verify(("payments",)).differences != []


@pytest.mark.parametrize("payload", ["[1]", '"text"', "null", "7"])
def test_a_payload_that_is_no_object_is_named_and_the_others_are_compared(broker, payload):
    spoiled, other = place(), place()
    rows("UPDATE orders_order SET reference = 'no' WHERE id = %s", [other.id])
    rows(
        "UPDATE orders_outbox SET payload = %s::jsonb WHERE aggregateid = %s", [payload, spoiled.id]
    )
    found = {each.stream for each in verify(("orders",)).differences}
    assert found == {f"orders.order:{spoiled.id}", f"orders.order:{other.id}"}


def test_an_upcaster_that_fails_at_one_event_is_named_and_the_others_are_compared(
    broker, monkeypatch
):
    monkeypatch.setattr(upcasting, "UPCASTERS", {})
    spoiled, other = place(), place()
    rows("UPDATE orders_order SET reference = 'no' WHERE id = %s", [other.id])
    rows("UPDATE orders_outbox SET version = 0 WHERE aggregateid = %s", [spoiled.id])

    @upcasts("orders.OrderPlaced", 0)
    def renamed(payload):
        return {**payload, "total": payload["no such field"]}

    found = {each.stream for each in verify(("orders",)).differences}
    assert found == {f"orders.order:{spoiled.id}", f"orders.order:{other.id}"}


def test_a_guard_that_lets_rows_be_rewritten_is_named(broker):
    place()
    relay.relay()
    rows(
        "CREATE OR REPLACE TRIGGER append_only BEFORE TRUNCATE ON orders_event"
        " FOR EACH STATEMENT EXECUTE FUNCTION orders_event_append_only()"
    )
    try:
        rows("UPDATE orders_event SET actor = 'operator:nobody'")
        guard = [one for one in verify(("orders",)).differences if "trigger" in one.field]
        assert [one.stream for one in guard] == ["orders_event"]
    finally:
        rows(
            "CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE"
            " ON orders_event FOR EACH STATEMENT EXECUTE FUNCTION orders_event_append_only()"
        )
