-- One row per line of the books; an entry without lines has one row with neither side nor amount.
SELECT
    e.id::uuid AS entry_id,
    e.rule::text AS rule,
    e.source::uuid AS source,
    e.occurred_at::timestamptz AS occurred_at,
    e.recorded_at::timestamptz AS recorded_at,
    l.id::bigint AS line_id,
    l.account_id::text AS account,
    a.name::text AS account_name,
    l.party_id::uuid AS party_id,
    l.side::text AS side,
    l.amount::bigint AS amount,
    l.currency::text AS currency
FROM billing.billing_journalentry e
LEFT JOIN billing.billing_journalline l ON l.entry_id = e.id
LEFT JOIN billing.billing_ledgeraccount a ON a.code = l.account_id
