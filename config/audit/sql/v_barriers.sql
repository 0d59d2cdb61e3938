-- One row per effect that a context has carried out, or refused, for a saga.
SELECT
    'orders'::text AS context,
    b.saga_id::uuid AS saga_id,
    b.step_no::integer AS step_no,
    b.direction::text AS direction,
    b.state::text AS state,
    b.created_at::timestamptz AS created_at
FROM orders.orders_barrier b
UNION ALL
SELECT
    'billing'::text AS context,
    b.saga_id::uuid AS saga_id,
    b.step_no::integer AS step_no,
    b.direction::text AS direction,
    b.state::text AS state,
    b.created_at::timestamptz AS created_at
FROM billing.billing_barrier b
UNION ALL
SELECT
    'payments'::text AS context,
    b.saga_id::uuid AS saga_id,
    b.step_no::integer AS step_no,
    b.direction::text AS direction,
    b.state::text AS state,
    b.created_at::timestamptz AS created_at
FROM payments.payments_barrier b
UNION ALL
SELECT
    'sagas'::text AS context,
    b.saga_id::uuid AS saga_id,
    b.step_no::integer AS step_no,
    b.direction::text AS direction,
    b.state::text AS state,
    b.created_at::timestamptz AS created_at
FROM sagas.sagas_barrier b
