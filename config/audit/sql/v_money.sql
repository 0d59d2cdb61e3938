-- One row per order and currency: the money that moved, and what the order's status says is owed.
SELECT
    p.order_id::uuid AS order_id,
    p.currency::text AS currency,
    p.authorized::bigint AS authorized,
    p.captured::bigint AS captured,
    p.voided::bigint AS voided,
    p.refunded::bigint AS refunded,
    p.open_hold::bigint AS open_hold,
    (CASE WHEN o.status = 'confirmed' THEN o.total ELSE 0 END)::bigint AS owed,
    p.provider_ref::text AS provider_ref
FROM (
    SELECT
        purpose_id AS order_id,
        currency,
        sum(authorized) AS authorized,
        sum(captured) AS captured,
        sum(voided) AS voided,
        sum(refunded) AS refunded,
        sum(open_hold) AS open_hold,
        string_agg(provider_ref, ' ' ORDER BY live DESC, payment_id) AS provider_ref
    FROM audit.v_payments
    WHERE purpose = 'order'
    GROUP BY purpose_id, currency
) p
LEFT JOIN audit.v_orders o ON o.order_id = p.order_id AND o.currency = p.currency
UNION ALL
SELECT
    o.order_id::uuid AS order_id,
    o.currency::text AS currency,
    0::bigint AS authorized,
    0::bigint AS captured,
    0::bigint AS voided,
    0::bigint AS refunded,
    0::bigint AS open_hold,
    (CASE WHEN o.status = 'confirmed' THEN o.total ELSE 0 END)::bigint AS owed,
    NULL::text AS provider_ref
FROM audit.v_orders o
WHERE NOT EXISTS (
    SELECT FROM audit.v_payments p
    WHERE p.purpose = 'order' AND p.purpose_id = o.order_id AND p.currency = o.currency
)
