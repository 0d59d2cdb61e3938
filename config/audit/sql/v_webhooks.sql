-- One row per event that the payment provider told by itself.
SELECT
    w.provider::text AS provider,
    w.event_ref::text AS event_ref,
    w.type::text AS type,
    w.provider_ref::text AS provider_ref,
    w.payment_id::uuid AS payment_id,
    w.state::text AS state,
    w.received_at::timestamptz AS received_at
FROM payments.payments_webhookevent w
