"""I4: the stock."""

from typing import Final

from config.invariants.checking import Invariant, Part, When

I4_STOCK: Final = Invariant(
    id="I4",
    name="stock",
    parts=(
        Part(
            says="Nothing is oversold: on hand and available are never below zero.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_stock",
            violations="""
                SELECT format('%%s: %%s on hand, %%s reserved', sku, on_hand, reserved) AS what,
                    greatest(-on_hand, -reserved, -available) AS size
                FROM audit.v_stock WHERE least(on_hand, reserved, available) < 0
            """,
        ),
        Part(
            says="What is reserved is what is held for orders.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_stock",
            violations="""
                SELECT format('%%s: %%s reserved, %%s held for orders', sku, s.reserved,
                        coalesce(r.held, 0)) AS what,
                    abs(s.reserved - coalesce(r.held, 0)) AS size
                FROM audit.v_stock s
                LEFT JOIN (SELECT sku, sum(quantity) AS held FROM audit.v_reservations
                    WHERE state = 'held' GROUP BY sku) r USING (sku)
                WHERE s.reserved <> coalesce(r.held, 0)
            """,
        ),
        Part(
            says="What is on hand is the sum of its movements.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_stock",
            violations="""
                SELECT format('%%s: %%s on hand, movements sum to %%s', sku, s.on_hand,
                        coalesce(m.sum, 0)) AS what,
                    abs(s.on_hand - coalesce(m.sum, 0)) AS size
                FROM audit.v_stock s
                LEFT JOIN (SELECT sku, sum(delta) AS sum FROM audit.v_stock_movements
                    GROUP BY sku) m USING (sku)
                WHERE s.on_hand <> coalesce(m.sum, 0)
            """,
        ),
        Part(
            says="Goods are held for pending orders only, taken for confirmed ones only.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_reservations",
            violations="""
                SELECT format('%%s of %%s are %%s for order %%s, which is %%s', r.quantity,
                        r.sku, r.state, r.order_id, coalesce(o.status, 'missing')) AS what,
                    r.quantity AS size
                FROM audit.v_reservations r LEFT JOIN audit.v_orders o USING (order_id)
                WHERE (r.state = 'held' AND o.status IS DISTINCT FROM 'pending')
                    OR (r.state = 'committed' AND o.status IS DISTINCT FROM 'confirmed')
                    OR (r.state = 'released' AND o.status IS NOT DISTINCT FROM 'confirmed')
            """,
        ),
        Part(
            says="What left the stock for an order is what was ordered, if it is confirmed.",
            when=When.ENDED,
            checked="SELECT count(*) FROM audit.v_orders WHERE status <> 'pending'",
            violations="""
                WITH ended AS (
                    SELECT order_id, number, status FROM audit.v_orders WHERE status <> 'pending'),
                ordered AS (
                    SELECT e.order_id, l.sku, sum(l.quantity) AS quantity
                    FROM ended e JOIN audit.v_order_lines l USING (order_id)
                    WHERE e.status = 'confirmed' GROUP BY e.order_id, l.sku),
                sold AS (
                    SELECT e.order_id, m.sku, -sum(m.delta) AS quantity
                    FROM audit.v_stock_movements m JOIN ended e ON e.order_id::text = m.ref
                    WHERE m.kind = 'sale' GROUP BY e.order_id, m.sku)
                SELECT format('order %%s: %%s of %%s ordered, %%s taken from the stock', e.number,
                        coalesce(o.quantity, 0), sku, coalesce(s.quantity, 0)) AS what,
                    abs(coalesce(o.quantity, 0) - coalesce(s.quantity, 0)) AS size
                FROM ordered o FULL JOIN sold s USING (order_id, sku)
                JOIN ended e USING (order_id)
                WHERE coalesce(o.quantity, 0) <> coalesce(s.quantity, 0)
            """,
        ),
    ),
)
