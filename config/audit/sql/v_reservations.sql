-- One row per line of an order that goods were set aside for.
SELECT
    r.order_id::uuid AS order_id,
    r.position::integer AS line_no,
    s.sku::text AS sku,
    r.quantity::bigint AS quantity,
    r.state::text AS state,
    r.created_at::timestamptz AS created_at,
    r.closed_at::timestamptz AS closed_at
FROM orders.orders_stockreservation r
JOIN orders.orders_stocklevel s ON s.id = r.stock_id
