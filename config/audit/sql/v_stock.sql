-- One row per item: what is there, and how much of it is promised.
SELECT
    s.sku::text AS sku,
    s.on_hand::bigint AS on_hand,
    s.reserved::bigint AS reserved,
    (s.on_hand - s.reserved)::bigint AS available
FROM orders.orders_stocklevel s
