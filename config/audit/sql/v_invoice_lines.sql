-- One row per line of an invoice.
SELECT
    l.invoice_id::uuid AS invoice_id,
    l.position::integer AS line_no,
    l.sku::text AS sku,
    l.description::text AS description,
    l.quantity::bigint AS quantity,
    l.unit_price::numeric(18, 4) AS unit_price,
    l.line_total::bigint AS line_total
FROM billing.billing_invoiceline l
