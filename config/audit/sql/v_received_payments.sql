-- One row per payment that billing was told of, and how much of it is applied to invoices.
SELECT
    r.payment_id::uuid AS payment_id,
    r.account_id::uuid AS party_id,
    r.order_id::uuid AS order_id,
    r.currency::text AS currency,
    r.amount::bigint AS amount,
    r.applied::bigint AS applied,
    r.captured_at::timestamptz AS captured_at
FROM billing.billing_receivedpayment r
