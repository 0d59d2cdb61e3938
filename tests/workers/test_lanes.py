"""Fresh events by real workers, while ten thousand older ones wait for the same listener."""

import pytest

from orders.services import register_customer
from sagas.outbox.starts import begin_new
from tests.databases import rows
from tests.processes import eventually
from tests.workers.shop import one

OLD, FRESH = 10_000, 20
# Copies of an event that was told, of as many customers that nobody knows.
_COPY = """
INSERT INTO orders_outbox (id, aggregatetype, aggregateid, sequence, type, version, payload,
    occurred_at, created_at, correlation_id)
SELECT gen_random_uuid(), aggregatetype, customer, 1, type, version,
    jsonb_set(payload, '{customer_id}', to_jsonb(customer::text)), occurred_at,
    created_at - interval '1 hour', correlation_id
FROM orders_outbox, LATERAL (
    SELECT md5(n::text)::uuid AS customer FROM generate_series(1, %(count)s) AS n) AS customers
WHERE type = 'orders.CustomerRegistered'
"""


def overtaken(email):
    """How many older events were applied while a fresh one waited; nothing until it is applied."""
    [(event_id, told_at)] = rows(
        "SELECT id, created_at FROM orders_outbox WHERE payload->>'email' = %s", [email]
    )
    return rows(
        "SELECT (SELECT count(*) FROM billing_inbox"
        "  WHERE applied_at BETWEEN %s AND i.applied_at)"
        " FROM billing_inbox i WHERE event_id = %s",
        [told_at, event_id],
    )


def waiting():
    return OLD + FRESH + 1 - one("SELECT count(*) FROM billing_inbox")


@pytest.mark.timeout(180)
def test_a_fresh_event_does_not_stand_behind_ten_thousand_older_ones(processes):
    register_customer(email="first@example.test", name="First")
    rows(_COPY, {"count": OLD})
    assert waiting() == OLD + FRESH + 1
    begin_new()
    rows("UPDATE sagas_consumer SET caught_up_at = now() RETURNING 1")  # nobody here is new
    slowly = {"SAGAS_REPUBLISH_AFTER": "30"}  # as in production
    processes.beat(env=slowly)
    processes.worker(env=slowly)
    eventually(lambda: one("SELECT count(*) FROM billing_inbox") > 100, 60, "they are at work")

    for number in range(FRESH):
        email = f"fresh{number}@example.test"
        register_customer(email=email, name="Fresh")
        eventually(lambda email=email: overtaken(email), 60, "the fresh event is applied")

    assert waiting() > OLD / 10, "the older ones wait still"
    before = sorted(overtaken(f"fresh{number}@example.test")[0][0] for number in range(FRESH))
    print(f"while one waited, {before[FRESH // 2]} older ones were applied, at most {before[-1]}")
    # Of thousands that were there before it; not counted in seconds, which a busy machine has more.
    assert before[FRESH // 2] < OLD / 20
