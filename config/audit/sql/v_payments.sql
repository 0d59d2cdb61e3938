-- One row per payment; the hold follows from the status, so that the sums can be held against it.
SELECT
    p.id::uuid AS payment_id,
    p.purpose::text AS purpose,
    p.purpose_id::uuid AS purpose_id,
    p.customer_id::uuid AS customer_id,
    p.currency::text AS currency,
    p.amount::bigint AS amount,
    p.authorized::bigint AS authorized,
    p.captured::bigint AS captured,
    p.voided::bigint AS voided,
    p.refunded::bigint AS refunded,
    (CASE WHEN p.status = 'authorized' THEN p.amount ELSE 0 END)::bigint AS open_hold,
    p.status::text AS status,
    p.live::boolean AS live,
    p.provider_ref::text AS provider_ref,
    p.captured_at::timestamptz AS captured_at
FROM payments.payments_payment p
