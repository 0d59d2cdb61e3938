-- One row per read model, noted by a tick.
SELECT
    'orders'::text AS context,
    p.name::text AS name,
    p.version::integer AS version,
    p.as_of::timestamptz AS as_of,
    p.behind::bigint AS behind,
    p.built_at::timestamptz AS built_at,
    p.rebuilding_since::timestamptz AS rebuilding_since
FROM orders.orders_projection p
