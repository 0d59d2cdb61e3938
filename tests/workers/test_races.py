"""Cancel and deadline against a capture in flight: exactly one of them wins, every time."""

import random
import threading

import pytest
from django.db import connections

from orders.models import Order
from orders.services import cancel_order
from sagas.orchestration import stops
from tests.processes import eventually
from tests.workers.shop import count_the_money, one, open_shop, rows, unfinished, wait_for_rest
from tests.workers.test_kills import Killer

ROUNDS = 200
AT_ONCE = 20


@pytest.fixture
def killer(tmp_path):
    return Killer(tmp_path)


def throw(orders, customer_id, answers):
    """Cancel or pass the deadline of each order at a moment of its own."""
    try:
        for order in orders:
            if random.random() < 0.5:
                found = cancel_order(customer_id=customer_id, order_id=order.id, by="customer")
                answers[order.id] = found.name
            else:
                turned = stops.begin_compensation(order.saga_id, failure="deadline", by=None)
                answers[order.id] = "ACCEPTED" if turned else "TOO_LATE"
    finally:
        connections.close_all()


@pytest.mark.timeout(300)
def test_cancel_and_deadline_thrown_at_captures_in_flight_with_kills_never_do_both(
    processes, killer
):
    processes.provider()
    processes.beat()
    processes.worker(env=killer.env)
    processes.worker(env=killer.env)
    shop = open_shop()
    answers = {}
    places = [
        "intent.committed/capture_payment",
        "call.returned/capture_payment",
        "step.before_commit/capture_payment",
        "step.committed/capture_payment",
        "intent.committed/undo.authorize_payment",
        "call.returned/undo.authorize_payment",
    ]
    killer.arm(places)
    for _ in range(ROUNDS // AT_ONCE):
        orders = [shop.buy(random.choice(["card_good", "card_slow"])) for _ in range(AT_ONCE)]
        random.shuffle(orders)
        first_captures = one("SELECT count(*) FROM sagas_saga WHERE past_return")
        eventually(
            lambda seen=first_captures: (
                one("SELECT count(*) FROM sagas_saga WHERE past_return") > seen or unfinished() == 0
            ),
            30,
            "a capture is in flight",
        )
        thrower = threading.Thread(target=throw, args=(orders, shop.customer_id, answers))
        thrower.start()
        thrower.join(30)
    wait_for_rest(90)

    assert len(answers) == ROUNDS
    statuses = dict(Order.objects.values_list("id", "status"))
    for order_id, answer in answers.items():
        ended = statuses[order_id]
        # Asked for from another database, it is decided when it arrives.
        decided = answer != "ASKED"
        fits = (ended == "confirmed") == (answer != "ACCEPTED")
        assert fits or not decided, (order_id, answer, ended)
    back = set(rows("SELECT subject_id FROM sagas_saga WHERE status = 'compensated'"))
    assert back & set(rows("SELECT purpose_id FROM payments_payment WHERE captured > 0")) == set()
    # Both sides must really have won sometimes, else nothing was shown.
    assert {"confirmed"} < set(statuses.values())
    count_the_money()
