-- One row per order and currency: the money that moved, and what the order's status says is owed.
SELECT
    coalesce(o.id, p.order_id)::uuid AS order_id,
    coalesce(p.currency, o.currency)::text AS currency,
    coalesce(p.authorized, 0)::bigint AS authorized,
    coalesce(p.captured, 0)::bigint AS captured,
    coalesce(p.voided, 0)::bigint AS voided,
    coalesce(p.refunded, 0)::bigint AS refunded,
    coalesce(p.open_hold, 0)::bigint AS open_hold,
    (CASE WHEN o.status = 'confirmed' THEN o.total ELSE 0 END)::bigint AS owed,
    p.provider_ref::text AS provider_ref
FROM orders.orders_order o
FULL JOIN (
    SELECT
        purpose_id AS order_id,
        currency,
        sum(authorized) AS authorized,
        sum(captured) AS captured,
        sum(voided) AS voided,
        sum(refunded) AS refunded,
        sum(CASE WHEN status = 'authorized' THEN amount ELSE 0 END) AS open_hold,
        string_agg(provider_ref, ' ' ORDER BY live DESC, id) AS provider_ref
    FROM payments.payments_payment
    WHERE purpose = 'order'
    GROUP BY purpose_id, currency
) p ON p.order_id = o.id AND p.currency = o.currency
