"""I3: at most one effect per key."""

from typing import Final

from config.invariants.checking import Invariant, Part, When


def _once(says: str, view: str, key: str, *, also: str = "true") -> Part:
    return Part(
        says=says,
        when=When.ALWAYS,
        checked=f"SELECT count(*) FROM audit.{view} WHERE {also}",  # noqa: S608
        violations=f"""
            SELECT format('{view}: %%s rows have the key %%s', count(*),
                    row({key})::text) AS what,
                count(*) AS size
            FROM audit.{view} WHERE {also} GROUP BY {key} HAVING count(*) > 1
        """,  # noqa: S608
    )


I3_ONCE: Final = Invariant(
    id="I3",
    name="one effect per key",
    parts=(
        _once("A request has one answer.", "v_idempotency", "context, scope, key"),
        _once("A step takes effect once.", "v_saga_steps", "saga_id, step_no, direction"),
        _once("An effect key stands for one step.", "v_saga_steps", "effect_key"),
        _once("A context applies an event once.", "v_inbox", "consumer, event_id"),
        _once("An event of the provider is kept once.", "v_webhooks", "provider, event_ref"),
        _once(
            "A key sent to the provider stands for one operation.",
            "v_payment_operations",
            "idempotency_key",
        ),
        _once("An order has one invoice.", "v_invoices", "order_id"),
        _once(
            "Goods are taken from the stock once per order.",
            "v_stock_movements",
            "sku, ref",
            also="kind = 'sale'",
        ),
        Part(
            says="A fact is booked once per rule.",
            when=When.ALWAYS,
            checked="SELECT count(DISTINCT entry_id) FROM audit.v_ledger",
            violations="""
                SELECT format('%%s entries book %%s of %%s', count(DISTINCT entry_id), rule,
                        source) AS what,
                    count(DISTINCT entry_id) AS size
                FROM audit.v_ledger GROUP BY rule, source HAVING count(DISTINCT entry_id) > 1
            """,
        ),
        Part(
            says="What the journal says of a step, the barrier of its context says too.",
            when=When.ALWAYS,
            checked="SELECT count(*) FROM audit.v_saga_steps",
            violations="""
                SELECT format('saga %%s step %%s (%%s): journal %%s, barrier %%s', saga_id,
                        step_no, direction, coalesce(r.state, 'missing'),
                        coalesce(b.state, 'missing')) AS what,
                    1 AS size
                FROM audit.v_saga_steps r
                FULL JOIN audit.v_barriers b USING (saga_id, step_no, direction, context)
                LEFT JOIN audit.v_sagas s USING (saga_id)
                -- A detached context commits its part first, and the engine follows.
                WHERE r.state IS DISTINCT FROM b.state
                    AND (NOT %(detached)s OR s.finished_at IS NOT NULL)
                    AND NOT (r.state IS NULL AND b.state = 'canceled')
                    AND NOT (r.state IN ('intended', 'canceled', 'skipped')
                        AND coalesce(b.state, '') = 'abandoned')
                    -- Two commits, and the way back came in between.
                    AND NOT (%(detached)s AND direction = 'do'
                        AND coalesce(r.state, 'intended') = 'intended'
                        AND coalesce(b.state, '') IN ('done', 'rejected', 'abandoned') AND EXISTS (
                            SELECT FROM audit.v_sagas s WHERE s.saga_id = coalesce(r.saga_id,
                                b.saga_id) AND s.status IN ('compensating', 'compensated')))
            """,
        ),
    ),
)
