-- One row per aggregate and context: the number of the last event it has applied.
SELECT
    'orders'::text AS context,
    p.aggregatetype::text AS aggregate_type,
    p.aggregateid::uuid AS aggregate_id,
    p.sequence::bigint AS aggregate_version
FROM orders.orders_position p
UNION ALL
SELECT
    'billing'::text AS context,
    p.aggregatetype::text AS aggregate_type,
    p.aggregateid::uuid AS aggregate_id,
    p.sequence::bigint AS aggregate_version
FROM billing.billing_position p
UNION ALL
SELECT
    'payments'::text AS context,
    p.aggregatetype::text AS aggregate_type,
    p.aggregateid::uuid AS aggregate_id,
    p.sequence::bigint AS aggregate_version
FROM payments.payments_position p
UNION ALL
SELECT
    'sagas'::text AS context,
    p.aggregatetype::text AS aggregate_type,
    p.aggregateid::uuid AS aggregate_id,
    p.sequence::bigint AS aggregate_version
FROM sagas.sagas_position p
