-- One row per customer; no name and no address.
SELECT
    c.id::uuid AS customer_id,
    c.user_id::bigint AS user_id,
    c.reference::text AS reference,
    c.currency::text AS currency,
    c.created_at::timestamptz AS created_at
FROM orders.orders_customer c
