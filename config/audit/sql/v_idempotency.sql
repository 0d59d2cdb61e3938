-- One row per request that was answered under an Idempotency-Key.
SELECT
    'orders'::text AS context,
    k.scope::text AS scope,
    k.key::text AS key,
    k.fingerprint::text AS fingerprint,
    k.status::integer AS status,
    (k.headers ->> 'Location')::text AS location,
    k.created_at::timestamptz AS created_at
FROM orders.orders_idempotency k
UNION ALL
SELECT
    'billing'::text AS context,
    k.scope::text AS scope,
    k.key::text AS key,
    k.fingerprint::text AS fingerprint,
    k.status::integer AS status,
    (k.headers ->> 'Location')::text AS location,
    k.created_at::timestamptz AS created_at
FROM billing.billing_idempotency k
UNION ALL
SELECT
    'payments'::text AS context,
    k.scope::text AS scope,
    k.key::text AS key,
    k.fingerprint::text AS fingerprint,
    k.status::integer AS status,
    (k.headers ->> 'Location')::text AS location,
    k.created_at::timestamptz AS created_at
FROM payments.payments_idempotency k
