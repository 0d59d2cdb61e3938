"""The checkout by real processes: worker, beat and provider."""

import pytest

from orders.models import Order
from orders.services import cancel_order, register_customer
from tests.databases import rows
from tests.processes import eventually
from tests.workers.shop import (
    count_the_money,
    misfortune,
    one,
    open_shop,
    provider_intents,
    unsettled,
    wait_for_rest,
)


@pytest.fixture
def running(processes):
    processes.provider()
    processes.beat()
    processes.worker()
    return processes


def status_of(order):
    return Order.objects.values_list("status", flat=True).get(id=order.id)


def test_every_kind_of_order_ends_as_it_should(running):
    shop = open_shop()
    orders = {card: shop.buy(card) for card in shop.methods}
    orders["out of stock"] = shop.buy(sku="RARE")

    wait_for_rest()

    ends = {kind: status_of(order) for kind, order in orders.items()}
    assert ends == {
        "card_good": "confirmed",
        "card_declined": "failed",
        "card_insufficient_funds": "failed",
        "card_timeout_before": "confirmed",
        "card_timeout_after": "confirmed",
        "card_error_after": "confirmed",
        "card_slow": "confirmed",
        "card_capture_declined": "failed",
        "out of stock": "failed",
    }
    count_the_money()
    assert str(orders["out of stock"].payment_id) not in provider_intents()


def test_a_commit_wakes_the_relay_without_waiting_for_a_tick(processes):
    # No beat at all: only the doorbell of a commit can bring the event over.
    processes.worker(queues=["ticks", "fresh", "events"])
    open_shop()

    eventually(lambda: one("SELECT count(*) FROM billing_billingaccount") == 1, 30, "the account")
    created = dict(rows("SELECT id, created_at FROM orders_outbox"))
    applied = rows("SELECT event_id, applied_at FROM billing_inbox")
    lag = max(at - created[event] for event, at in applied)
    print(f"from commit to applied: {lag.total_seconds() * 1000:.0f} ms")


def test_a_rejection_finds_its_way_back_through_link_error_without_a_sweeper(processes):
    # No beat: nobody else would bring the compensation on its way. A slice that is always spent:
    # the task of the rejection does not go on with it.
    processes.worker(env={"SAGAS_TIME_SLICE": "0.0001"})
    shop = open_shop()
    order = shop.buy(sku="RARE")

    eventually(lambda: status_of(order) == "failed", 30, "the order is closed")


def test_two_relays_at_once_deliver_every_event_once(processes):
    for _ in range(2):
        processes.worker(queues=["ticks", "fresh", "events"])
        processes.beat()
    for number in range(60):
        register_customer(email=f"c{number}@example.test", name=f"Example {number}")

    eventually(lambda: one("SELECT count(*) FROM billing_billingaccount") == 60, 60, "the accounts")
    eventually(lambda: unsettled() == 0 or None, 30, "all events are settled")
    assert one("SELECT count(*) FROM billing_inbox") == 60
    assert one("SELECT count(*) FROM orders_outbox") == 60


def test_a_cancel_before_the_pivot_undoes_everything_and_after_it_is_refused(running):
    shop = open_shop()
    misfortune("busy", operation="confirm", times=5)  # so that it is not paid before the cancel
    early = shop.buy("card_slow")
    answer = cancel_order(customer_id=shop.customer_id, order_id=early.id, by="customer")
    assert answer.name in {"ACCEPTED", "ASKED"}  # asked, where orders are detached
    late = shop.buy()
    eventually(lambda: status_of(late) == "confirmed", 30, "the order is confirmed")
    answer = cancel_order(customer_id=shop.customer_id, order_id=late.id, by="customer")
    assert answer.name not in {"ACCEPTED", "ASKED"}

    wait_for_rest()
    assert status_of(early) == "canceled"
    assert status_of(late) == "confirmed"
    count_the_money()
