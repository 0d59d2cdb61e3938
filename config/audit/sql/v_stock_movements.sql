-- One row per change of what is there of an item.
SELECT
    s.sku::text AS sku,
    m.kind::text AS kind,
    m.delta::bigint AS delta,
    m.ref::text AS ref,
    m.created_at::timestamptz AS created_at
FROM orders.orders_stockmovement m
JOIN orders.orders_stocklevel s ON s.id = m.stock_id
