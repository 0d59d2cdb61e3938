-- One row per event that a context has told, or is about to tell.
SELECT
    'orders'::text AS context,
    x.position::bigint AS id,
    x.aggregatetype::text AS aggregate_type,
    x.aggregateid::uuid AS aggregate_id,
    x.sequence::bigint AS aggregate_version,
    x.id::uuid AS event_id,
    x.type::text AS type,
    x.created_at::timestamptz AS created_at,
    x.published_at::timestamptz AS published_at,
    x.attempts::integer AS attempts,
    x.settled_at::timestamptz AS settled_at
FROM orders.orders_outbox x
UNION ALL
SELECT
    'billing'::text AS context,
    x.position::bigint AS id,
    x.aggregatetype::text AS aggregate_type,
    x.aggregateid::uuid AS aggregate_id,
    x.sequence::bigint AS aggregate_version,
    x.id::uuid AS event_id,
    x.type::text AS type,
    x.created_at::timestamptz AS created_at,
    x.published_at::timestamptz AS published_at,
    x.attempts::integer AS attempts,
    x.settled_at::timestamptz AS settled_at
FROM billing.billing_outbox x
UNION ALL
SELECT
    'payments'::text AS context,
    x.position::bigint AS id,
    x.aggregatetype::text AS aggregate_type,
    x.aggregateid::uuid AS aggregate_id,
    x.sequence::bigint AS aggregate_version,
    x.id::uuid AS event_id,
    x.type::text AS type,
    x.created_at::timestamptz AS created_at,
    x.published_at::timestamptz AS published_at,
    x.attempts::integer AS attempts,
    x.settled_at::timestamptz AS settled_at
FROM payments.payments_outbox x
