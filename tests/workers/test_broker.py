"""Everything in Redis is lost, every message comes three times, both databases go away."""

import os
import random
import signal
import threading

import pytest
import redis
from django.conf import settings
from django.db import connection, connections

from orders.models import Order
from sagas.orchestration.canvas import publish
from sagas.outbox.relay import deliver_later
from tests.processes import eventually
from tests.workers.shop import count_the_money, one, open_shop, rows, wait_for_rest
from tests.workers.test_kills import Killer


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


@pytest.fixture
def running(processes, killer):
    processes.provider()
    processes.beat()
    processes.worker(env=killer.env)
    return processes


def flushall():
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushall()


def slow_end(placed):
    """Seconds from start to end of the saga than which 95 of 100 of these orders' are quicker."""
    seconds = sorted(
        float(row[0])
        for row in rows(
            "SELECT extract(epoch FROM finished_at - started_at) FROM sagas_saga"
            " WHERE finished_at IS NOT NULL AND subject_id = ANY(%s)",
            [placed],
        )
    )
    assert len(seconds) == len(placed)
    return seconds[int(len(seconds) * 0.95)]


def ride(shop, meanwhile=lambda: None):
    """Buy ten times six, and return when all of it is at rest how long the slow ones took."""
    placed = []
    for _ in range(10):
        for _order in range(6):
            card = random.choice(["card_good", "card_good", "card_declined"])
            placed.append(shop.buy(card).id)
        meanwhile()
    wait_for_rest(90)
    return slow_end(placed)


@pytest.mark.timeout(300)
def test_flushall_ten_times_under_load_loses_nothing_and_sagas_end_within_ten_seconds(running):
    shop = open_shop()

    undisturbed = ride(shop)
    # Where other work makes the machine slower, everything takes longer.
    assert ride(shop, meanwhile=flushall) < max(10, 4 * undisturbed)
    count_the_money()


def test_a_saga_whose_bell_was_never_rung_is_found_by_the_sweeper(processes, killer):
    shop = open_shop()
    order = shop.buy()
    flushall()
    processes.provider()
    processes.beat()
    processes.worker()

    eventually(lambda: Order.objects.get(id=order.id).status == "confirmed", 30, "it is found")
    wait_for_rest()
    count_the_money()


def test_a_worker_killed_after_a_fault_is_stored_leaves_the_retry_to_the_sweeper(running, killer):
    shop = open_shop()
    killer.arm(["fault.committed/capture_payment"])
    order = shop.buy("card_error_after")

    eventually(lambda: killer.hit("fault.committed/capture_payment"), 30, "the fault")
    flushall()
    eventually(lambda: Order.objects.get(id=order.id).status == "confirmed", 30, "the retry")
    wait_for_rest()
    count_the_money()


def test_a_worker_killed_between_finding_and_delivering_a_lost_event_leaves_it_to_the_next(
    processes, killer
):
    shop = open_shop()
    killer.arm(["republish.found/orders"])
    processes.worker(queues=["ticks"], env=killer.env)
    publish(signature("sagas.relay", [], queue="ticks"))
    eventually(
        lambda: one("SELECT count(*) FROM orders_outbox WHERE published_at IS NULL") == 0,
        20,
        "the event is published",
    )
    flushall()  # its delivery is lost: nobody has applied it
    rows("UPDATE sagas_consumer SET caught_up_at = now() RETURNING 1")  # nobody here is new

    processes.provider()
    processes.beat()
    eventually(lambda: killer.hit("republish.found/orders"), 30, "a worker died over it")
    processes.worker()
    eventually(lambda: one("SELECT count(*) FROM billing_billingaccount") == 1, 30, "the account")
    shop.buy()
    wait_for_rest()
    count_the_money()


def test_every_message_three_times_changes_nothing(running):
    shop = open_shop()
    for card in ("card_good", "card_declined", "card_capture_declined"):
        for _ in range(3):
            shop.buy(card)
    for _ in range(3):
        for saga_id, last in rows("SELECT id::text, last_step FROM sagas_saga"):
            for name, low in (("run_link", 1), ("undo_link", 0)):
                publish(signature(f"sagas.{name}", [saga_id, low, last, True]))
            publish(signature("sagas.continue_saga", [saga_id]))
        for context in settings.CONTEXTS:
            ids = [str(row[0]) for row in rows(f"SELECT id FROM {context}_outbox")]
            for consumer in settings.CONTEXTS:
                deliver_later(context, consumer, ids[::-1])
    wait_for_rest(60)
    count_the_money()


def signature(name, arguments, queue="steps"):
    from celery import current_app

    return current_app.signature(name, args=arguments, immutable=True, queue=queue)


@pytest.fixture
def durable(committed_db):
    """Tests run without waiting for the disk; a crash of the server needs it."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET synchronous_commit = on")
    connections.close_all()
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
    connections.close_all()


@pytest.mark.timeout(180)
def test_both_databases_restarted_under_load_lose_nothing(durable, running, killer):
    def supervise():
        # A Redis that is gone for long can end a worker's parent inside kombu.
        if not any(each.alive for each in running.started if each.name == "worker"):
            running.worker(env=killer.env, ready=False)

    shop = open_shop()
    placed = [shop.buy() for _ in range(10)]
    servers = settings.EMBEDDED

    connections.close_all()
    postmaster = next(servers.dir.glob("pg*/postmaster.pid"))
    os.kill(int(postmaster.read_text().split()[0]), signal.SIGQUIT)  # as after a power cut
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
    restart(servers)

    placed += [shop.buy() for _ in range(3)]
    wait_for_rest(60, meanwhile=supervise)
    assert {Order.objects.get(id=order.id).status for order in placed} == {"confirmed"}
    assert one("SELECT count(*) FROM orders_order") == len(placed)
    count_the_money()


def restart(servers):
    waiter = threading.Event()
    for _ in range(100):
        gone = not any(servers.dir.glob("pg*/postmaster.pid"))
        if gone:
            break
        waiter.wait(0.1)
    servers.start(fast=True)
