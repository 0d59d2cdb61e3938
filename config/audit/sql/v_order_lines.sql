-- One row per line of an order, as it was agreed.
SELECT
    l.order_id::uuid AS order_id,
    l.position::integer AS line_no,
    l.sku_code::text AS sku,
    l.description::text AS description,
    l.quantity::bigint AS quantity,
    l.unit_price::numeric(18, 4) AS unit_price,
    l.line_total::bigint AS line_total
FROM orders.orders_orderline l
