"""I1: the money of an order."""

from typing import Final

from config.invariants.checking import Invariant, Part, When

I1_MONEY: Final = Invariant(
    id="I1",
    name="money of an order",
    parts=(
        Part(
            says="What was held is what was taken, let go, or is still held.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_payments",
            violations="""
                SELECT format('payment %%s is %%s: authorized %%s, captured %%s, voided %%s,'
                        ' refunded %%s, open hold %%s', payment_id, status, authorized, captured,
                        voided, refunded, open_hold) AS what,
                    abs(authorized - captured - voided - open_hold) AS size
                FROM audit.v_payments
                WHERE authorized <> captured + voided + open_hold
                    OR least(captured, voided, refunded, open_hold) < 0
                    OR authorized > amount OR refunded > captured
            """,
        ),
        Part(
            says="A payment is that of an order, over the order's total.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_payments WHERE purpose = 'order'",
            violations="""
                SELECT format('payment %%s over %%s %%s, order %%s over %%s %%s', p.payment_id,
                        p.amount, p.currency, coalesce(o.number, 'missing'), o.total,
                        o.currency) AS what,
                    p.amount AS size
                FROM audit.v_payments p LEFT JOIN audit.v_orders o ON o.order_id = p.purpose_id
                WHERE p.purpose = 'order' AND (p.payment_id, p.amount, p.currency)
                    IS DISTINCT FROM (o.payment_id, o.total, o.currency)
            """,
        ),
        Part(
            says="Nobody pays twice for one order.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT purpose_id) FROM audit.v_payments",
            violations="""
                SELECT format('%%s payments took money for %%s %%s', count(*), purpose,
                        purpose_id) AS what,
                    sum(captured) AS size
                FROM audit.v_payments WHERE captured > 0
                GROUP BY purpose, purpose_id HAVING count(*) > 1
            """,
        ),
        Part(
            says="Nothing is held for an order that has ended.",
            when=When.ENDED,
            checked="SELECT count(*) FROM audit.v_orders WHERE status <> 'pending'",
            violations="""
                SELECT format('order %%s is %%s, and %%s are held', o.number, o.status,
                        m.open_hold) AS what,
                    m.open_hold AS size
                FROM audit.v_orders o JOIN audit.v_money m USING (order_id)
                WHERE o.status <> 'pending' AND m.open_hold <> 0
            """,
        ),
        Part(
            says="What was kept for an order that has ended is what is owed for it.",
            when=When.ENDED,
            checked="SELECT count(*) FROM audit.v_orders WHERE status <> 'pending'",
            violations="""
                SELECT format('order %%s is %%s: captured %%s, refunded %%s, owed %%s', o.number,
                        o.status, m.captured, m.refunded, m.owed) AS what,
                    abs(m.captured - m.refunded - m.owed) AS size
                FROM audit.v_orders o JOIN audit.v_money m USING (order_id)
                WHERE o.status <> 'pending' AND m.captured - m.refunded <> m.owed
            """,
        ),
    ),
)
