-- One row per effect that was asked of the payment provider.
SELECT
    o.id::uuid AS operation_id,
    o.payment_id::uuid AS payment_id,
    o.kind::text AS kind,
    o.amount::bigint AS amount,
    o.effect_key::text AS effect_key,
    o.idempotency_key::text AS idempotency_key,
    o.status::text AS status,
    o.decline_code::text AS decline_code,
    o.inquiries::integer AS inquiries,
    o.sent_at::timestamptz AS sent_at,
    o.resolved_at::timestamptz AS resolved_at
FROM payments.payments_paymentoperation o
