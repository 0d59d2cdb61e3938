"""I12, I16 and I21: nothing that was promised is missing, on paper either."""

from typing import Final

from config.invariants.checking import Invariant, Part, When, guarded

I12_REQUESTS: Final = Invariant(
    id="I12",
    name="what was accepted is there",
    parts=(
        Part(
            says="Every order has its checkout, and every checkout its order.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_orders",
            violations="""
                SELECT format('order %%s, checkout %%s', coalesce(o.number, 'missing'),
                        coalesce(s.saga_id::text, 'missing')) AS what,
                    coalesce(o.total, 0) AS size
                FROM audit.v_orders o
                FULL JOIN (SELECT saga_id, subject_id FROM audit.v_sagas
                    WHERE name = 'orders.checkout') s USING (saga_id)
                WHERE o.order_id IS DISTINCT FROM s.subject_id
            """,
        ),
        Part(
            says="Every order that an answer told of is there.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_idempotency WHERE location ~ '/orders/'",
            violations="""
                SELECT format('answer %%s to %%s told of %%s, which is not there', status, scope,
                        location) AS what,
                    1 AS size
                FROM audit.v_idempotency
                WHERE location ~ '/orders/[0-9a-f-]{36}' AND NOT EXISTS (
                    SELECT FROM audit.v_orders o
                    WHERE o.order_id::text = substring(location FROM '/orders/([0-9a-f-]{36})'))
            """,
        ),
    ),
)

I16_ACTS: Final = Invariant(
    id="I16",
    name="who did what, and why",
    parts=(
        Part(
            says="Every act of an operator has a name, a reason and an outcome.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_operator_actions",
            violations="""
                SELECT format('%%s of %%s %%s by %%s: %%s', action, target_type, target_id,
                        coalesce(nullif(by, ''), 'nobody'),
                        coalesce(nullif(reason, ''), 'no reason')) AS what,
                    1 AS size
                FROM audit.v_operator_actions
                WHERE btrim(by) = '' OR btrim(reason) = '' OR btrim(outcome) = ''
            """,
        ),
        guarded(
            (
                "sagas_operatoraction.append_only",
                "sagas_stepfault.append_only",
                "sagas_saga.ended",
                "orders_orderline.orders_orderline_unchanging",
                "orders_stockmovement.orders_stockmovement_unchanging",
                "payments_paymentoperation.payments_paymentoperation_resolved",
                "payments_paymentoperation.payments_paymentoperation_effect",
            ),
            "What is on record cannot be changed: the triggers that refuse it are on.",
        ),
    ),
)

I21_INVOICES: Final = Invariant(
    id="I21",
    name="one invoice per confirmed order",
    parts=(
        Part(
            says="A confirmed order has one invoice, to its customer and over its total.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_orders WHERE status = 'confirmed'",
            violations="""
                SELECT format('order %%s over %%s %%s: %%s invoices, over %%s', o.number, o.total,
                        o.currency, count(i.invoice_id), coalesce(sum(i.total), 0)) AS what,
                    abs(o.total - coalesce(sum(i.total), 0)) AS size
                FROM audit.v_orders o
                LEFT JOIN audit.v_invoices i ON i.order_id = o.order_id
                    AND i.currency = o.currency AND i.customer_id = o.customer_id
                WHERE o.status = 'confirmed'
                GROUP BY o.order_id, o.number, o.total, o.currency
                HAVING count(i.invoice_id) <> 1 OR sum(i.total) <> o.total
            """,
        ),
        Part(
            says="There is no invoice for an order that came to nothing.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_invoices",
            violations="""
                SELECT format('invoice %%s over %%s, order %%s is %%s', i.number, i.total,
                        i.order_id, coalesce(o.status, 'missing')) AS what,
                    i.total AS size
                FROM audit.v_invoices i LEFT JOIN audit.v_orders o USING (order_id)
                WHERE coalesce(o.status, 'missing') NOT IN ('pending', 'confirmed')
            """,
        ),
        Part(
            says="The lines of an invoice are those of the order, and sum to its total.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_invoices",
            violations="""
                SELECT format('invoice %%s over %%s: %%s of %%s lines as ordered, over %%s',
                        i.number, i.total, count(o.line_no), count(*),
                        coalesce(sum(l.line_total), 0)) AS what,
                    abs(i.total - coalesce(sum(l.line_total), 0)) AS size
                FROM audit.v_invoices i
                LEFT JOIN audit.v_invoice_lines l USING (invoice_id)
                LEFT JOIN audit.v_order_lines o ON o.order_id = i.order_id
                    AND o.line_no = l.line_no
                    AND (o.sku, o.quantity, o.unit_price, o.line_total)
                        = (l.sku, l.quantity, l.unit_price, l.line_total)
                GROUP BY i.invoice_id, i.order_id, i.number, i.total
                HAVING coalesce(sum(l.line_total), 0) <> i.total
                    OR count(o.line_no) <> count(*)
                    OR count(*) <> (SELECT count(*) FROM audit.v_order_lines a
                        WHERE a.order_id = i.order_id)
            """,
        ),
        Part(
            says="Invoice numbers are unique and have no gap.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT series) FROM audit.v_invoices",
            violations="""
                SELECT format('series %%s: %%s invoices with %%s numbers from %%s to %%s', series,
                        count(*), count(DISTINCT series_number), min(series_number),
                        max(series_number)) AS what,
                    greatest(max(series_number) - count(*), 1) AS size
                FROM audit.v_invoices GROUP BY series
                HAVING count(*) <> count(DISTINCT series_number)
                    OR min(series_number) <> 1 OR max(series_number) <> count(*)
            """,
        ),
        Part(
            says="What is settled of an invoice is what was paid on it.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_invoices",
            violations="""
                SELECT format('invoice %%s: %%s of %%s settled, %%s paid', i.number, i.settled,
                        i.total, coalesce(r.applied, 0)) AS what,
                    abs(i.settled - coalesce(r.applied, 0)) AS size
                FROM audit.v_invoices i
                LEFT JOIN (SELECT order_id, sum(applied) AS applied
                    FROM audit.v_received_payments GROUP BY order_id) r USING (order_id)
                WHERE i.settled <> coalesce(r.applied, 0)
            """,
        ),
        Part(
            says="The invoice of a confirmed order is paid.",
            when=When.REST,
            checked="SELECT count(*) FROM audit.v_orders WHERE status = 'confirmed'",
            violations="""
                SELECT format('order %%s is confirmed, its invoice %%s is %%s', o.number,
                        i.number, i.status) AS what,
                    i.total - i.settled AS size
                FROM audit.v_orders o JOIN audit.v_invoices i USING (order_id)
                WHERE o.status = 'confirmed' AND i.status <> 'settled' AND (%(at_rest)s
                    OR o.confirmed_at < sagas.now() - make_interval(secs => %(age)s))
            """,
        ),
    ),
)
