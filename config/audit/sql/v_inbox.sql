-- One row per event that a context has applied.
SELECT
    'orders'::text AS context,
    i.consumer::text AS consumer,
    i.event_id::uuid AS event_id,
    i.applied_at::timestamptz AS applied_at,
    i.id::bigint AS id,
    i.type::text AS type
FROM orders.orders_inbox i
UNION ALL
SELECT
    'billing'::text AS context,
    i.consumer::text AS consumer,
    i.event_id::uuid AS event_id,
    i.applied_at::timestamptz AS applied_at,
    i.id::bigint AS id,
    i.type::text AS type
FROM billing.billing_inbox i
UNION ALL
SELECT
    'payments'::text AS context,
    i.consumer::text AS consumer,
    i.event_id::uuid AS event_id,
    i.applied_at::timestamptz AS applied_at,
    i.id::bigint AS id,
    i.type::text AS type
FROM payments.payments_inbox i
UNION ALL
SELECT
    'sagas'::text AS context,
    i.consumer::text AS consumer,
    i.event_id::uuid AS event_id,
    i.applied_at::timestamptz AS applied_at,
    i.id::bigint AS id,
    i.type::text AS type
FROM sagas.sagas_inbox i
