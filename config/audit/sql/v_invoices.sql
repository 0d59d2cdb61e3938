-- One row per invoice: what it is about, and how much of it is paid.
SELECT
    i.id::uuid AS invoice_id,
    (i.series || '-' || lpad(i.number::text, greatest(6, length(i.number::text)), '0'))::text
        AS number,
    i.order_id::uuid AS order_id,
    i.customer_id::uuid AS customer_id,
    i.currency::text AS currency,
    i.total::bigint AS total,
    i.settled::bigint AS settled,
    0::bigint AS credited,
    i.status::text AS status,
    i.series::text AS series,
    i.number::bigint AS series_number,
    i.account_id::uuid AS party_id,
    i.business_date::date AS business_date,
    i.issued_at::timestamptz AS issued_at
FROM billing.billing_invoice i
