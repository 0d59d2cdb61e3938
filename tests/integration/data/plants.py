"""Violations, planted with the triggers off: one for each part of each invariant."""

A_GOOD_ORDER = "(SELECT id FROM orders_order WHERE status = 'confirmed' ORDER BY number LIMIT 1)"
A_FAILED_ORDER = "(SELECT id FROM orders_order WHERE status = 'failed' ORDER BY number LIMIT 1)"
A_GOOD_SAGA = (
    "(SELECT saga_id FROM orders_order WHERE status = 'confirmed' ORDER BY number LIMIT 1)"
)
A_CANCELED_SAGA = "(SELECT saga_id FROM orders_order WHERE status = 'canceled')"
ANOTHER = "gen_random_uuid()"

# What is done behind everybody's back, the invariant that notices, and words of its worst case.
PLANTS = {
    "a capture that nobody knows of": (
        (
            "ALTER TABLE payments_payment DROP CONSTRAINT payments_payment_captured;"
            "UPDATE payments_payment SET captured = captured + 1 WHERE status = 'captured'"
        ),
        "I1",
        "captured 2374",
    ),
    "a payment over another amount": (
        "UPDATE payments_payment SET amount = amount + 7 WHERE status = 'captured'",
        "I1",
        "over 2380 GBP, order",
    ),
    "a second payment for an order": (
        (
            "CREATE TEMPORARY TABLE payments_again ON COMMIT DROP AS"
            " SELECT * FROM payments_payment WHERE captured > 0 LIMIT 1;"
            "UPDATE payments_again SET id = gen_random_uuid(), provider_ref = 'again';"
            "DROP INDEX payments.payments_payment_one_live;"
            "INSERT INTO payments_payment SELECT * FROM payments_again"
        ),
        "I1",
        "2 payments took money",
    ),
    "a hold for a failed order": (
        (
            "UPDATE payments_payment SET status = 'authorized', live = true, voided = 0,"
            f" authorized = amount WHERE purpose_id = {A_FAILED_ORDER}"
        ),
        "I1",
        "are held",
    ),
    "money of a failed order": (
        (
            "UPDATE orders_order SET status = 'failed', reason = 'x', confirmed_at = NULL,"
            f" closed_at = now() WHERE id = {A_GOOD_ORDER}"
        ),
        "I1",
        "is failed: captured 2373, refunded 0, owed 0",
    ),
    "an entry that does not balance": (
        (
            "UPDATE billing_journalline SET amount = amount + 5 WHERE side = 'D'"
            " AND account_id = '1100'"
        ),
        "I2",
        "debits less credits 5",
    ),
    "an entry without lines": (
        (
            "INSERT INTO billing_journalentry (id, rule, source, occurred_at, written_by)"
            f" VALUES ({ANOTHER}, 'invented', {ANOTHER}, now(), 0)"
        ),
        "I2",
        "0 lines",
    ),
    "a receivable without an invoice": (
        (
            "UPDATE billing_journalline SET account_id = '1200' WHERE account_id = '2100'"
            " AND side = 'D'"
        ),
        "I2",
        "1200 has",
    ),
    "an invoice settled by nobody": (
        (
            "UPDATE billing_invoice SET settled = settled - 3, status = 'open'"
            f" WHERE order_id = {A_GOOD_ORDER}"
        ),
        "I2",
        "open invoices have 3 GBP",
    ),
    "money received twice": (
        "UPDATE billing_receivedpayment SET amount = amount + 9",
        "I2",
        "not applied are 18 GBP",
    ),
    "books that can be rewritten": (
        "ALTER TABLE billing_journalline DISABLE TRIGGER billing_journalline_unchanging",
        "I2",
        "billing_journalline_unchanging is missing or off",
    ),
    "two answers to one request": (
        (
            "ALTER TABLE orders_idempotency DROP CONSTRAINT orders_idempotency_key;"
            "INSERT INTO orders_idempotency (scope, key, fingerprint, status, headers, body)"
            " SELECT 'POST', 'k', '', 202, '{}', '' FROM generate_series(1, 2)"
        ),
        "I3",
        "v_idempotency: 2 rows have the key (orders,POST,k)",
    ),
    "a step done twice": (
        (
            "ALTER TABLE sagas_steprun DROP CONSTRAINT sagas_run_once;"
            "INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state,"
            " effect_key, attempts, worker, task_id, fencing_token) SELECT saga_id, step_no,"
            " name, context, direction, state, effect_key || '!', 1, '', '', 0 FROM sagas_steprun"
            f" WHERE saga_id = {A_GOOD_SAGA} AND step_no = 4"
        ),
        "I3",
        "v_saga_steps: 2 rows",
    ),
    "an effect key used twice": (
        "UPDATE sagas_steprun SET effect_key = 'the same' WHERE step_no = 4 AND direction = 'do'",
        "I3",
        'have the key ("the same")',
    ),
    "a second invoice for an order": (
        (
            "ALTER TABLE billing_invoice DROP CONSTRAINT billing_invoice_order_id_key;"
            f"UPDATE billing_invoice SET order_id = {A_GOOD_ORDER} WHERE total = 1120"
        ),
        "I3",
        "v_invoices: 2 rows",
    ),
    "goods taken twice for an order": (
        (
            "ALTER TABLE orders_stockmovement DROP CONSTRAINT orders_stockmovement_once;"
            "INSERT INTO orders_stockmovement (stock_id, kind, delta, ref) SELECT stock_id, kind,"
            " delta, ref FROM orders_stockmovement WHERE kind = 'sale' LIMIT 1"
        ),
        "I3",
        "v_stock_movements: 2 rows",
    ),
    "an event applied twice": (
        (
            "ALTER TABLE billing_inbox DROP CONSTRAINT billing_inbox_once;"
            "INSERT INTO billing_inbox (consumer, event_id, type)"
            " SELECT consumer, event_id, type FROM billing_inbox ORDER BY id DESC LIMIT 1"
        ),
        "I3",
        "v_inbox: 2 rows",
    ),
    "an event of the provider kept twice": (
        (
            "ALTER TABLE payments_webhookevent DROP CONSTRAINT payments_webhookevent_once;"
            "INSERT INTO payments_webhookevent (id, provider, event_ref, type, provider_ref, body,"
            " state) SELECT gen_random_uuid(), 'simulator', 'e1', 't', '', '', 'parked'"
            " FROM generate_series(1, 2)"
        ),
        "I3",
        "v_webhooks: 2 rows have the key (simulator,e1)",
    ),
    "a provider key used twice": (
        "UPDATE payments_paymentoperation SET idempotency_key = 'the same' WHERE kind = 'capture'",
        "I3",
        'have the key ("the same")',
    ),
    "a fact booked twice": (
        (
            "ALTER TABLE billing_journalentry DROP CONSTRAINT billing_journalentry_once;"
            "INSERT INTO billing_journalentry (id, rule, source, occurred_at, written_by)"
            f" SELECT {ANOTHER}, rule, source, occurred_at, 0 FROM billing_journalentry"
            " WHERE rule = 'payment_captured' LIMIT 1"
        ),
        "I3",
        "2 entries book payment_captured",
    ),
    "a journal that the barrier does not know": (
        f"DELETE FROM payments_barrier WHERE saga_id = {A_GOOD_SAGA} AND step_no = 4",
        "I3",
        "step 4 (do): journal done, barrier missing",
    ),
    "an intent that the barrier does not know": (
        (
            "UPDATE sagas_steprun SET state = 'intended' WHERE direction = 'do' AND step_no = 4"
            f" AND saga_id = {A_GOOD_SAGA};"
            f"DELETE FROM payments_barrier WHERE saga_id = {A_GOOD_SAGA} AND step_no = 4"
        ),
        "I3",
        "step 4 (do): journal intended, barrier missing",
    ),
    "more promised than there is": (
        (
            "ALTER TABLE orders_stocklevel DROP CONSTRAINT orders_stocklevel_not_oversold;"
            "UPDATE orders_stocklevel SET reserved = 200 WHERE sku = 'MUG'"
        ),
        "I4",
        "MUG: 95 on hand, 200 reserved",
    ),
    "a promise that no order has": (
        "UPDATE orders_stocklevel SET reserved = 2 WHERE sku = 'MUG'",
        "I4",
        "MUG: 2 reserved, 0 held for orders",
    ),
    "goods that came from nowhere": (
        "UPDATE orders_stocklevel SET on_hand = on_hand + 1 WHERE sku = 'BOWL'",
        "I4",
        "BOWL: 99 on hand, movements sum to 98",
    ),
    "goods held for a canceled order": (
        (
            "UPDATE orders_stockreservation SET state = 'held', closed_at = NULL WHERE order_id ="
            " (SELECT id FROM orders_order WHERE status = 'canceled')"
        ),
        "I4",
        "which is canceled",
    ),
    "less sold than ordered": (
        (
            "UPDATE orders_stockmovement SET delta = delta + 1 WHERE kind = 'sale' AND ref ="
            f" {A_GOOD_ORDER}::text AND delta = -5"
        ),
        "I4",
        "movements sum to 96",
    ),
    "a saga that nobody sees": (
        (
            "ALTER TABLE sagas_saga DROP CONSTRAINT sagas_saga_finished;"
            "ALTER TABLE sagas_saga DROP CONSTRAINT sagas_saga_seen;"
            f"UPDATE sagas_saga SET finished_at = NULL WHERE id = {A_CANCELED_SAGA}"
        ),
        "I5",
        "is seen by nobody",
    ),
    "a saga that was forgotten": (
        (
            "ALTER TABLE sagas_saga DROP CONSTRAINT sagas_saga_finished;"
            "UPDATE sagas_saga SET finished_at = NULL, due_at = now() - interval '1 hour'"
            f" WHERE id = {A_CANCELED_SAGA}"
        ),
        "I5",
        "due since",
    ),
    "a deadline that nobody kept": (
        (
            "UPDATE sagas_saga SET finished_at = NULL, status = 'running', past_return = false,"
            " due_at = now() + interval '1 hour', deadline_at = now() - interval '1 hour'"
            f" WHERE id = {A_CANCELED_SAGA}"
        ),
        "I5",
        "had until",
    ),
    "an order confirmed by a checkout that failed": (
        (
            "UPDATE orders_order SET status = 'confirmed', reason = '', closed_at = NULL,"
            " confirmed_at = now() WHERE status = 'canceled'"
        ),
        "I6",
        "is confirmed, its checkout is compensated",
    ),
    "a completed saga with a step undone": (
        (
            "INSERT INTO sagas_steprun (saga_id, step_no, name, context, direction, state,"
            " effect_key, attempts, worker, task_id, fencing_token, committed_at)"
            f" VALUES ({A_GOOD_SAGA}, 1, 'reserve_stock', 'orders', 'undo', 'done', 'k', 1,"
            " '', '', 0, now() + interval '1 hour')"
        ),
        "I6",
        "8 of 8 steps done, 1 undone",
    ),
    "a saga undone past its return": (
        (
            "ALTER TABLE sagas_saga DROP CONSTRAINT sagas_saga_no_return;"
            f"UPDATE sagas_saga SET past_return = true WHERE id = {A_CANCELED_SAGA}"
        ),
        "I6",
        "is past its return and compensated",
    ),
    "an event of a move that there is not": (
        (
            "UPDATE orders_outbox SET type = 'orders.OrderCanceled'"
            f" WHERE aggregateid = {A_GOOD_ORDER} AND sequence = 1"
        ),
        "I6",
        "orders.OrderCanceled after nothing",
    ),
    "a step that was not visited": (
        (
            f"DELETE FROM sagas_steprun WHERE saga_id = {A_CANCELED_SAGA} AND direction = 'undo'"
            " AND step_no = 7"
        ),
        "I7",
        "7 of 8 steps visited",
    ),
    "something done and not undone": (
        (
            f"UPDATE sagas_steprun SET state = 'nothing' WHERE saga_id = {A_CANCELED_SAGA}"
            " AND direction = 'undo' AND step_no = 1"
        ),
        "I7",
        "reserve_stock was done, its undo is nothing",
    ),
    "a door left open": (
        f"DELETE FROM billing_barrier WHERE saga_id = {A_CANCELED_SAGA} AND direction = 'do'",
        "I7",
        "issue_invoice never ran, its undo is nothing and its door is open",
    ),
    "a step that came after its undo": (
        (
            "UPDATE sagas_steprun SET committed_at = now() + interval '1 hour'"
            f" WHERE saga_id = {A_CANCELED_SAGA} AND direction = 'do' AND step_no = 1"
        ),
        "I8",
        "reserve_stock done at",
    ),
    "an event that was never sent": (
        (
            "UPDATE orders_outbox SET published_at = NULL, settled_at = NULL,"
            " created_at = now() - interval '1 hour'"
            f" WHERE aggregateid = {A_GOOD_ORDER} AND sequence = 1"
        ),
        "I9",
        "is not sent",
    ),
    "an event that was not applied": (
        (
            "UPDATE payments_outbox SET published_at = now() - interval '1 hour', settled_at = NULL"
            " WHERE type = 'payments.PaymentCaptured'"
        ),
        "I9",
        "is not applied by all",
    ),
    "an event that is not in the history": (
        f"DELETE FROM orders_event WHERE aggregateid = {A_GOOD_ORDER} AND number = 2",
        "I9",
        "is not in the history",
    ),
    "a history that can be rewritten": (
        "ALTER TABLE payments_event DISABLE TRIGGER append_only",
        "I10",
        "payments_event.append_only is missing or off",
    ),
    "an event applied that nobody wrote": (
        (
            "INSERT INTO billing_inbox (consumer, event_id, type)"
            f" VALUES ('billing', {ANOTHER}, 'payments.PaymentCaptured')"
        ),
        "I9",
        "which nobody wrote",
    ),
    "money that billing does not know of": (
        (
            "DELETE FROM billing_receivedpayment WHERE amount = 1120;"
            "UPDATE payments_payment SET captured_at = now() - interval '1 hour'"
        ),
        "I9",
        "captured 1120, received 0, booked 1120",
    ),
    "money received and not captured": (
        "UPDATE billing_receivedpayment SET payment_id = gen_random_uuid() WHERE amount = 1120",
        "I9",
        "received 1120, captured 0",
    ),
    "a number of an event left out": (
        (
            f"UPDATE orders_outbox SET sequence = 3 WHERE aggregateid = {A_GOOD_ORDER}"
            " AND sequence = 2"
        ),
        "I10",
        "2 events, numbered 1 to 3",
    ),
    "events applied in the wrong order": (
        (
            "ALTER TABLE payments_outbox DROP CONSTRAINT payments_outbox_gapless;"
            "UPDATE payments_outbox SET sequence = 3 - sequence"
            f" WHERE aggregateid = (SELECT payment_id FROM orders_order WHERE id = {A_GOOD_ORDER})"
        ),
        "I10",
        "billing applied event 1 of payments.payment",
    ),
    "a position ahead of what was applied": (
        (
            "UPDATE billing_position SET sequence = sequence + 1"
            " WHERE aggregatetype = 'payments.payment'"
        ),
        "I10",
        "and has applied up to",
    ),
    "an order without a checkout": (
        f"DELETE FROM sagas_saga WHERE id = {A_CANCELED_SAGA}",
        "I12",
        "checkout missing",
    ),
    "an answer about an order that is not there": (
        (
            "INSERT INTO orders_idempotency (scope, key, fingerprint, status, headers, body) VALUES"
            " ('POST', 'k', '', 202, '{\"Location\":"
            " \"/api/v1/orders/00000000-0000-7000-8000-000000000000\"}', '')"
        ),
        "I12",
        "which is not there",
    ),
    "an act without a reason": (
        "UPDATE sagas_operatoraction SET reason = ' '",
        "I16",
        "by olga",
    ),
    "acts that can be rewritten": (
        "DROP TRIGGER append_only ON sagas_operatoraction",
        "I16",
        "sagas_operatoraction.append_only is missing or off",
    ),
    "a confirmed order without an invoice": (
        f"DELETE FROM billing_invoice WHERE order_id = {A_GOOD_ORDER}",
        "I21",
        "0 invoices, over 0",
    ),
    "an invoice for a failed order": (
        f"UPDATE billing_invoice SET order_id = {A_FAILED_ORDER} WHERE total = 1120",
        "I21",
        "is failed",
    ),
    "a line that was not ordered": (
        "UPDATE billing_invoiceline SET quantity = 4 WHERE quantity = 3",
        "I21",
        "2 of 3 lines as ordered",
    ),
    "a gap in the numbers": (
        "UPDATE billing_invoice SET number = 7 WHERE number = 2",
        "I21",
        "2 invoices with 2 numbers from 1 to 7",
    ),
    "an invoice that stays open": (
        (
            "UPDATE billing_invoice SET settled = 0, status = 'open' WHERE total = 1120;"
            "UPDATE billing_receivedpayment SET applied = 0 WHERE amount = 1120;"
            "UPDATE orders_order SET confirmed_at = now() - interval '1 hour'"
            " WHERE status = 'confirmed'"
        ),
        "I21",
        "is open",
    ),
}
