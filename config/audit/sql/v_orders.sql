-- One row per order: what was agreed, and how it ended.
SELECT
    o.id::uuid AS order_id,
    o.number::text AS number,
    o.customer_id::uuid AS customer_id,
    o.currency::text AS currency,
    o.goods::bigint AS goods,
    o.total::bigint AS total,
    o.status::text AS status,
    o.reason::text AS reason,
    o.payment_id::uuid AS payment_id,
    o.payment_method_id::uuid AS payment_method_id,
    o.saga_id::uuid AS saga_id,
    o.reference::text AS reference,
    o.business_date::date AS business_date,
    o.placed_at::timestamptz AS placed_at,
    o.confirmed_at::timestamptz AS confirmed_at,
    o.closed_at::timestamptz AS closed_at
FROM orders.orders_order o
