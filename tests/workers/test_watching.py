"""Real workers and a real beat: an event is lost for good, and the watchdog brings it back."""

import pytest

from sagas.models import WatchedFlow
from tests.databases import rows
from tests.integration.sagas.flows import coupons, flow, make_due, messages
from tests.processes import eventually
from tests.workers.shop import one, open_shop


@pytest.mark.colocated  # over two databases no saga starts while nobody relays
def test_an_event_that_the_relay_will_never_send_is_found_by_its_missing_hop(processes):
    processes.provider()
    processes.worker(queues=["steps"])  # nobody relays yet
    order = open_shop().buy(quantity=10)
    eventually(lambda: WatchedFlow.objects.count() == 1 or None, 60, "the order is confirmed")
    eventually(
        lambda: one("SELECT count(*) FROM sagas_saga WHERE status = 'completed'") or None,
        30,
        "the checkout ends",
    )
    # As if it had been sent and applied: neither relay nor comparison looks at it again. Of the
    # whole order, since whoever hears a later event reads the earlier ones.
    rows(
        "UPDATE orders_outbox SET published_at = clock_timestamp(),"
        " settled_at = clock_timestamp() WHERE aggregatetype = 'orders.order'"
    )

    processes.worker()
    processes.beat()
    make_due(overdue=True)

    missing = eventually(lambda: flow().missing or None, 30, "the missing hop is named")
    eventually(lambda: messages(order)[1:] or None, 30, "the customer is told")
    assert (coupons(), messages(order)) == (["granted"], ["order_confirmed", "coupon_granted"])
    assert (flow().redrives, "billing has not handled" in missing) == (1, True)
    make_due()
    eventually(lambda: flow().state == "completed" or None, 30, "the watchdog has seen it")
